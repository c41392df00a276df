package auth

import "errors"

// Reason is why a token is refused. It is for logs and metrics: whoever sent the token is told ErrInvalid's text alone.
type Reason string

// The reasons; there are no others.
const (
	UnknownToken Reason = "unknown"   // it is no key, and nothing that looks like a signed token
	Oversized    Reason = "oversized" // nobody looks at tokens of that size
	Malformed    Reason = "malformed"
	BadAlgorithm Reason = "algorithm" // not one that is allowed, or not for the key that it names
	UnknownKey   Reason = "unknown_key"
	BadSignature Reason = "signature"
	Expired      Reason = "expired"
	NotYetValid  Reason = "not_yet_valid"
	BadAudience  Reason = "audience"
	BadIssuer    Reason = "issuer"
	BadClaims    Reason = "claims" // one that is required is missing, or can't be meant
	Revoked      Reason = "revoked"
)

// Reasons lists them all.
func Reasons() []Reason {
	return []Reason{
		UnknownToken, Oversized, Malformed, BadAlgorithm, UnknownKey, BadSignature, Expired, NotYetValid, BadAudience, BadIssuer,
		BadClaims, Revoked,
	}
}

// refusal is ErrInvalid with the reason, which its text does not tell.
type refusal struct{ reason Reason }

func (r *refusal) Error() string { return ErrInvalid.Error() }
func (r *refusal) Unwrap() error { return ErrInvalid }

// Refuse gives an ErrInvalid that ReasonOf knows the reason of.
func Refuse(r Reason) error { return &refusal{r} }

// ReasonOf tells why a token was refused; "" when err is no ErrInvalid.
func ReasonOf(err error) Reason {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.reason
	}
	if errors.Is(err, ErrInvalid) {
		return UnknownToken
	}
	return ""
}
