package cca

// InitData takes the init data out of a personalization value.
func InitData(value []byte) []byte { return initData(value) }
