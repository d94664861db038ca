package audience

import "time"

// Rules are the rules of an app about new accounts. They never concern an account that
// exists. The zero value has no rules.
type Rules struct {
	// MaxAccounts is the most accounts the app may have, its admins among them; 0 is no
	// limit. To create one more fails with 70398.
	// Contract: spec/conventions.md, 3.2.
	MaxAccounts int
	// ReimportWait is how long after its deletion an account cannot be created again.
	// Fractions of a second are dropped; 0 is no wait. Until then its creation fails with
	// 70399. Contract: spec/conventions.md, 5.3.
	ReimportWait time.Duration
}
