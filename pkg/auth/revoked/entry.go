package revoked

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/doorbell-sync/doorbell/pkg/auth"
)

// Bounds of entries, in bytes; no token that is accepted has more.
const (
	MaxID      = auth.MaxTokenID
	MaxSubject = auth.MaxSubject
)

// Entry takes tokens back until a time, after which they must have expired by themselves.
type Entry struct {
	// ID is the token's (jti). "": those of Subject that were made before IssuedBefore, in Unix seconds; tokens that don't say
	// when they were made count as old.
	ID           string
	Subject      string
	IssuedBefore int64
	// Until is of milliseconds.
	Until time.Time
}

// ByID takes back one token.
func ByID(id string, until time.Time) Entry {
	return Entry{ID: id, Until: until.Truncate(time.Millisecond)}
}

// BySubject takes back a subject's tokens that were made before a time. Tokens tell whole seconds: those of the second that the
// time is in count as made before it, unless that is its beginning.
func BySubject(subject string, before, until time.Time) Entry {
	seconds := before.Unix()
	if before.Nanosecond() > 0 {
		seconds++
	}
	return Entry{Subject: subject, IssuedBefore: seconds, Until: until.Truncate(time.Millisecond)}
}

// Check tells what is wrong with the entry.
func (e Entry) Check() error {
	switch {
	case (e.ID == "") == (e.Subject == ""):
		return errors.New("a revocation is of one of a token's id and a subject")
	case !auth.Plain(e.ID, MaxID):
		return fmt.Errorf("the token's id is not 1 to %d bytes of text", MaxID)
	case !auth.Plain(e.Subject, MaxSubject):
		return fmt.Errorf("the subject is not 1 to %d bytes of text", MaxSubject)
	}
	return nil
}

// text is the entry as the bus keeps it: "id <id>", or "sub <seconds> <subject>".
func (e Entry) text() string {
	if e.ID != "" {
		return "id " + e.ID
	}
	return "sub " + strconv.FormatInt(e.IssuedBefore, 10) + " " + e.Subject
}

// line is the entry as it is broadcast: its end in Unix milliseconds, and its text.
func (e Entry) line() string {
	return strconv.FormatInt(e.Until.UnixMilli(), 10) + " " + e.text() + "\n"
}

func parseText(s string) (Entry, bool) {
	kind, rest, _ := strings.Cut(s, " ")
	var e Entry
	switch kind {
	case "id":
		e.ID = rest
	case "sub":
		seconds, subject, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil {
			return Entry{}, false
		}
		e.Subject, e.IssuedBefore = subject, n
	}
	return e, e.Check() == nil && e.text() == s
}

func parseLine(line string) (Entry, bool) {
	until, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	ms, err := strconv.ParseInt(until, 10, 64)
	e, ok := parseText(text)
	e.Until = time.UnixMilli(ms)
	return e, ok && err == nil
}
