package keys

// Message gives the signed bytes.
var Message = message
