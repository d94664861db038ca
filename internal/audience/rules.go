package audience

import "time"

// Rules are the rules of an app about making accounts. They never concern an
// account that exists. The zero value has none.
type Rules struct {
	// MaxAccounts is the most accounts the app may have, its admins among them;
	// 0 is no limit. An account that would be one more fails with 70398.
	// Contract: spec/conventions.md, 3.2.
	MaxAccounts int
	// ReimportWait is how long after its deletion an account cannot be made
	// again, in whole seconds; 0 is at once. Until then making it fails with
	// 70399. Contract: spec/conventions.md, 5.3.
	ReimportWait time.Duration
}
