// Package policy decides whether a room may be given keys: from claims, a signed agreement,
// a signed run request and the broker's own books to a [Grant] or a refusal, every clause
// checked and explained.
//
// A Grant can't be made anywhere else and redeems once. Whatever is absent from a request
// refuses: there is no clause that an empty field switches off. The package asks nobody and
// remembers nothing; what was spent, revoked or activated comes in as plain data, so that a
// decision can be replayed from its record.
package policy
