package acme

// TakeName is for tests.
var TakeName = takeName
