package release

// MakeToken makes a token with a given id, for vectors.
var MakeToken = makeToken

// MakeTicket makes a ticket for the vectors.
var MakeTicket = makeTicket
