package host

// Unkept is unkept.
func Unkept(err error) error { return unkept(err) }
