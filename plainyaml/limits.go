package plainyaml

// MaxFile is the largest YAML file read, in bytes: four hand-written agreements with every
// list at its limit would not fill it, and parsing it takes well under a second.
const MaxFile = 1 << 20
