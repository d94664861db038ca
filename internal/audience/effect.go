package audience

// An Effect describes what becomes of one user, and not what a request asked for. So an
// effect means the same wherever it is applied: to live users, at a start, to a copy. A
// Decider creates effects, a store keeps them.
type Effect struct {
	Op      EffectOp
	User    uint32 // number of the user in its app
	Account string // of Make
	Kind    Kind   // of Make
	Created uint32 // Unix second; 0 in an Edit leaves the user's as it is

	Set      Values   // values that the user gets; an empty one leaves the slot as it is
	Cleared  SlotSet  // slots whose value is taken away
	Tagged   []string // tags that the user gets and does not have, each once
	Untagged []string // tags that are taken away and that the user has, each once
}

// EffectOp is the kind of an Effect.
type EffectOp uint8

// The operations of effects. Their numbers are on disk.
const (
	Make   EffectOp = 1 // the user is new, with what Set and Tagged hold
	Edit   EffectOp = 2 // what the user has changes
	Remove EffectOp = 3 // the user is taken away with all it has
)

// An Outcome is what a change that was made came to for its account.
type Outcome uint8

// The outcomes. A change of a profile counts as one whatever the profile was: profiles
// are not compared. That a Change clears fields of a profile does not count.
const (
	Unchanged Outcome = iota + 1
	Changed
	Created
)

// Outcome returns what a change came to that had the effect e, or none.
func (c *Change) Outcome(e *Effect, some bool) Outcome {
	switch {
	case some && e.Op == Make:
		return Created
	case some, c.Profile.Nick != nil, c.Profile.FaceURL != nil:
		return Changed
	}
	return Unchanged
}

// empty reports whether an Edit changes nothing.
func (e *Effect) empty() bool {
	return e.Created == 0 && e.Cleared == 0 && len(e.Tagged) == 0 && len(e.Untagged) == 0 && e.Set == Values{}
}
