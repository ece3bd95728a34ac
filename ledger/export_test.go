package ledger

// SignText signs any text as the log would, for vectors of texts it never signs.
func (s *Signer) SignText(text string) string { return s.sign(text) }
