package gormstore

import "math/bits"

// A statement's text has a parameter for each key or row, and Postgres's driver keeps a prepared statement for each text on
// each connection. A thousand batch sizes would be a thousand of those, so sizes beyond smallShape are powers of two.
const smallShape = 8

// fewShapes repeats the last text until the list has one of few lengths; for IN, where repeating changes nothing.
func fewShapes(texts []string) []string {
	n := len(texts)
	if n <= smallShape {
		return texts
	}
	for want := 1 << bits.Len(uint(n-1)); len(texts) < want; {
		texts = append(texts, texts[n-1])
	}
	return texts
}

// shapeOf is how many of n rows, at least 1, one statement takes.
func shapeOf(n int) int {
	if n <= smallShape {
		return n
	}
	return 1 << (bits.Len(uint(n)) - 1)
}
