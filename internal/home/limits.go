package home

// MaxFile is the largest file read from a home, in bytes: documents are at most 4 MiB
// (wire.MaxDocument), and an entry of the address book holds one and a few lines more.
const MaxFile = 5 << 20

// MaxNote bounds a label or the words on how a party was checked, in bytes: they stand on
// one line of a screen.
const MaxNote = 400
