// Package bench tests `doorbell bench` from outside, on Linux, where it works: that it measures, says what is wrong with its
// arguments, and leaves nothing behind.
package bench
