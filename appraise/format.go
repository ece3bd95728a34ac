package appraise

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// Format lays a policy out the one way: two spaces, comments kept, members in the order they
// were written in. Policies that [Parse] refuses are refused here too.
func Format(file string, data []byte) ([]byte, error) {
	if _, err := Parse(file, data); err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err // Parse read it already
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, err
	}
	if err := enc.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
