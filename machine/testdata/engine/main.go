// Command engine is a program on an engine's disk. It is never run.
package main

func main() {}
