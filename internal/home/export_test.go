package home

var ParseEntry = parseEntry

func (e Entry) Encode() ([]byte, error) { return e.encode() }
