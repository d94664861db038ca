package audience_test

import (
	"context"
	"testing"

	"tidings/internal/audience"
)

// TestOutcome: what a change came to is what became of its account, and a profile that is
// named counts as changed.
func TestOutcome(t *testing.T) {
	nick := "N"
	for _, test := range []struct {
		name   string
		change audience.Change
		want   audience.Outcome
	}{
		{"a new account", audience.Change{Account: "new", Create: true}, audience.Created},
		{"a new account with a profile", audience.Change{Account: "new", Create: true, Profile: audience.Profile{Nick: &nick}}, audience.Created},
		{"nothing", audience.Change{Account: "ann"}, audience.Unchanged},
		{"an account that exists", audience.Change{Account: "ann", Create: true}, audience.Unchanged},
		{"another value", audience.Change{Account: "ann", Set: audience.Values{"another"}}, audience.Changed},
		{"a new tag", audience.Change{Account: "ann", Tags: add("fresh")}, audience.Changed},
		{"another creation", audience.Change{Account: "ann", Created: 77}, audience.Changed},
		{"a nick", audience.Change{Account: "ann", Profile: audience.Profile{Nick: &nick}}, audience.Changed},
		{"a picture", audience.Change{Account: "ann", Profile: audience.Profile{FaceURL: &nick}}, audience.Changed},
		{"a profile taken away", audience.Change{Account: "ann", Profile: audience.Profile{Clear: true}}, audience.Unchanged},
	} {
		d := audience.Decider{State: population(t), Now: now}
		var e audience.Effect
		some, err := d.Change(&test.change, &e)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if got := test.change.Outcome(&e, some); got != test.want {
			t.Errorf("%s: the outcome is %d, want %d", test.name, got, test.want)
		}
	}
}

// TestAuthority: a change may be made unless something says that it may not, at the time
// at which that is asked.
func TestAuthority(t *testing.T) {
	if !audience.Authorized(t.Context()) {
		t.Error("a context that says nothing forbids a change")
	}
	valid := true
	ctx, cancel := context.WithCancel(audience.WithAuthority(t.Context(), func() bool { return valid }))
	defer cancel()
	for _, valid = range []bool{true, false, true} {
		if audience.Authorized(ctx) != valid {
			t.Errorf("Authorized is not %t", valid)
		}
	}
}
