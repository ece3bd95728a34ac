package room

import "io"

// Container gives a result's plaintext, as a room makes it.
func Container(h Head, body []byte, salt [32]byte) ([]byte, error) {
	part, err := committed(h, body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(container(salt, part))
}

// Format is the formatter of results.
var Format = format
