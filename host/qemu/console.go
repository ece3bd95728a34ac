package qemu

import (
	"io"
	"sync"
)

// console passes on what a machine prints, in plain text: firmware draws with escape
// sequences, and nothing a machine prints may steer the terminal of who reads the host's log.
type console struct {
	mu    sync.Mutex // owns what follows
	to    io.Writer
	left  int
	state byte // 0: text; escape: behind ESC; '[': in a sequence
}

const escapeByte = 0x1b

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.to == nil || c.left <= 0 {
		return len(p), nil
	}
	plain := make([]byte, 0, len(p))
	for _, b := range p {
		if c.text(b) {
			plain = append(plain, b)
		}
	}
	if len(plain) >= c.left {
		plain = append(plain[:c.left], "\n(the machine prints more; it is not kept)\n"...)
	}
	c.left -= len(plain)
	_, _ = c.to.Write(plain) // a log that is lost stops no room
	return len(p), nil
}

// text reports a byte that is text, and keeps track of control sequences (ECMA-48, 5.4).
func (c *console) text(b byte) bool {
	switch {
	case c.state == escapeByte:
		if c.state = 0; b == '[' {
			c.state = '['
		}
		return false
	case c.state == '[':
		if b >= 0x40 && b <= 0x7e {
			c.state = 0
		}
		return false
	case b == escapeByte:
		c.state = escapeByte
		return false
	}
	return b >= 0x20 && b < 0x7f || b == '\n' || b == '\t'
}
