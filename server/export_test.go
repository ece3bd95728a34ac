package server

// Posted is for tests.
var Posted = posted
