package release

import "strongroom.dev/policy"

// MakeToken makes a token with a given id, for vectors.
var MakeToken = makeToken

// MakeTicket makes a ticket for the vectors.
var MakeTicket = makeTicket

// PlainSpendings is what a grant says of budgets, before it is sealed.
func PlainSpendings(list []policy.Spending) ([]byte, error) { return plainSpendings(list) }
