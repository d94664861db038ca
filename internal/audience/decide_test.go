package audience_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/index"
)

const now = 1000 // the second of all decisions here

// attributes are those of the app: two for UserIDs and one for RegistrationIDs.
var attributes = audience.Attributes{{Name: "plan"}, {Name: "city"}, {Name: "model", Kind: audience.RegistrationID}}

// population returns four users, numbers 0 to 3: ann has values and the tags a and b,
// bob the tag a, phone is a RegistrationID with the tag p, full has all the tags it may.
func population(t *testing.T) *index.Users {
	t.Helper()
	users := index.NewUsers()
	d := audience.Decider{State: users, Now: now}
	for _, c := range []audience.Change{
		{Account: "ann", Create: true, Created: 7, Set: audience.Values{"gold", "Rome"}, Tags: add("b", "a")},
		{Account: "bob", Create: true, Tags: add("a")},
		{Account: "phone", Create: true, Kind: audience.RegistrationID, Set: audience.Values{2: "x1"}, Tags: add("p")},
		{Account: "full", Create: true, Tags: add(numbered("f", audience.MaxTags)...)},
	} {
		var e audience.Effect
		if _, err := d.Change(&c, &e); err != nil {
			t.Fatal(err)
		}
		if err := users.Apply(&e, 1); err != nil {
			t.Fatal(err)
		}
	}
	return users
}

func add(tags ...string) audience.TagEdit {
	return audience.TagEdit{Op: audience.AddTags, Tags: tags}
}

func replace(tags ...string) audience.TagEdit {
	return audience.TagEdit{Op: audience.ReplaceTags, Tags: tags}
}

func remove(tags ...string) audience.TagEdit {
	return audience.TagEdit{Op: audience.RemoveTags, Tags: tags}
}

// limited is an edit for an app that may have so many different tags.
func limited(edit audience.TagEdit, appMax int) audience.TagEdit {
	edit.AppMax = appMax
	return edit
}

// numbered returns n tags.
func numbered(prefix string, n int) []string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("%s%02d", prefix, i)
	}
	return tags
}

func slots(list ...int) (s audience.SlotSet) {
	for _, slot := range list {
		s.Add(slot)
	}
	return s
}

// The population has these users and different tags.
const (
	ann, bob, phone, full = 0, 1, 2, 3
	next                  = 4
	appTags               = 3 + audience.MaxTags // a, b, p and those of full
)

// effects are changes that can be made. A change without an Op in its effect has none.
var effects = []struct {
	name   string
	change audience.Change
	want   audience.Effect
}{
	{
		"a new account",
		audience.Change{Account: "new", Create: true},
		audience.Effect{Op: audience.Make, User: next, Account: "new", Created: now},
	},
	{
		"a new account of another second and kind",
		audience.Change{Account: "new", Create: true, Created: 42, Kind: audience.RegistrationID, Set: audience.Values{2: "x"}, Attributes: &attributes},
		audience.Effect{Op: audience.Make, User: next, Account: "new", Kind: audience.RegistrationID, Created: 42, Set: audience.Values{2: "x"}},
	},
	{
		"a new account with everything",
		audience.Change{Account: "new", Create: true, Set: audience.Values{"gold"}, Remove: slots(1), Tags: add("z", "a", "z")},
		audience.Effect{Op: audience.Make, User: next, Account: "new", Created: now, Set: audience.Values{"gold"}, Tagged: []string{"z", "a"}},
	},
	{
		"a new account from which things are taken away",
		audience.Change{Account: "new", Create: true, Remove: slots(0, 9), Tags: remove("a")},
		audience.Effect{Op: audience.Make, User: next, Account: "new", Created: now},
	},
	{
		"the longest account",
		audience.Change{Account: strings.Repeat("x", audience.MaxAccountBytes), Create: true, Tags: audience.TagEdit{Op: audience.ClearTags}},
		audience.Effect{Op: audience.Make, User: next, Account: strings.Repeat("x", audience.MaxAccountBytes), Created: now},
	},
	{
		"an account that exists is not made",
		audience.Change{Account: "ann", Create: true, Kind: audience.RegistrationID},
		audience.Effect{},
	},
	{
		"values",
		audience.Change{Account: "ann", Set: audience.Values{"silver", "Rome", 9: "new"}, Attributes: &audience.Attributes{}},
		audience.Effect{Op: audience.Edit, User: ann, Set: audience.Values{0: "silver", 9: "new"}},
	},
	{
		"values that the user has",
		audience.Change{Account: "ann", Set: audience.Values{"gold", "Rome"}},
		audience.Effect{},
	},
	{
		"values taken away",
		audience.Change{Account: "ann", Remove: slots(0, 1, 2, 9)},
		audience.Effect{Op: audience.Edit, User: ann, Cleared: slots(0, 1)},
	},
	{
		"a value taken away and set",
		audience.Change{Account: "ann", Remove: slots(0, 1), Set: audience.Values{0: "silver", 1: "Rome"}},
		audience.Effect{Op: audience.Edit, User: ann, Set: audience.Values{0: "silver"}},
	},
	{
		"the second of making",
		audience.Change{Account: "ann", Created: 8},
		audience.Effect{Op: audience.Edit, User: ann, Created: 8},
	},
	{
		"the same second",
		audience.Change{Account: "ann", Created: 7},
		audience.Effect{},
	},
	{
		"a RegistrationID",
		audience.Change{Account: "phone", Set: audience.Values{2: "x2"}, Attributes: &attributes, Kind: audience.RegistrationID, OfKind: true},
		audience.Effect{Op: audience.Edit, User: phone, Kind: audience.RegistrationID, Set: audience.Values{2: "x2"}},
	},
	{
		"tags added",
		audience.Change{Account: "ann", Tags: add("c", "a", "c", "f00")},
		audience.Effect{Op: audience.Edit, User: ann, Tagged: []string{"c", "f00"}},
	},
	{
		"tags added that the user has",
		audience.Change{Account: "ann", Tags: add("a", "b", "a")},
		audience.Effect{},
	},
	{
		"tags added to a user who has all it may",
		audience.Change{Account: "full", Tags: add("f00", "f99")},
		audience.Effect{},
	},
	{
		"tags replaced",
		audience.Change{Account: "ann", Tags: replace("c", "a", "a", "c")},
		audience.Effect{Op: audience.Edit, User: ann, Tagged: []string{"c"}, Untagged: []string{"b"}},
	},
	{
		"tags replaced by those the user has",
		audience.Change{Account: "ann", Tags: replace("a", "b")},
		audience.Effect{},
	},
	{
		"tags replaced by none",
		audience.Change{Account: "bob", Tags: replace()},
		audience.Effect{Op: audience.Edit, User: bob, Untagged: []string{"a"}},
	},
	{
		"a hundred tags replaced",
		audience.Change{Account: "full", Tags: replace(append(numbered("f", 99), "a")...)},
		audience.Effect{Op: audience.Edit, User: full, Tagged: []string{"a"}, Untagged: []string{"f99"}},
	},
	{
		"tags removed",
		audience.Change{Account: "ann", Tags: remove("a", "nobody's", "a", "p", "f00")},
		audience.Effect{Op: audience.Edit, User: ann, Untagged: []string{"a"}},
	},
	{
		"tags removed that the user has not",
		audience.Change{Account: "bob", Tags: remove("b")},
		audience.Effect{},
	},
	{
		"tags cleared",
		audience.Change{Account: "ann", Tags: audience.TagEdit{Op: audience.ClearTags, Tags: []string{"ignored"}}},
		audience.Effect{Op: audience.Edit, User: ann, Untagged: []string{"b", "a"}}, // in the order of their numbers
	},
	{
		"a profile, which is not the decider's",
		audience.Change{Account: "ann", Profile: audience.Profile{Clear: true}},
		audience.Effect{},
	},
	{
		"the last tag of the app",
		audience.Change{Account: "bob", Tags: limited(add("c"), appTags+1)},
		audience.Effect{Op: audience.Edit, User: bob, Tagged: []string{"c"}},
	},
	{
		"a tag of others in an app that has too many",
		audience.Change{Account: "bob", Tags: limited(add("b"), 1)},
		audience.Effect{Op: audience.Edit, User: bob, Tagged: []string{"b"}},
	},
	{
		"a tag in the place of one that nobody else has",
		audience.Change{Account: "ann", Tags: limited(replace("a", "c"), appTags)},
		audience.Effect{Op: audience.Edit, User: ann, Tagged: []string{"c"}, Untagged: []string{"b"}},
	},
}

func TestDeciderEffects(t *testing.T) {
	users := population(t)
	d := audience.Decider{State: users, Now: now}
	before := summary(users)
	for _, test := range effects {
		e := audience.Effect{Op: 9, User: 9, Account: "x", Set: audience.Values{9: "x"}, Tagged: []string{"x"}, Untagged: []string{"x"}} // of another change
		some, err := d.Change(&test.change, &e)
		if err != nil || some != (test.want.Op != 0) {
			t.Errorf("%s: effect %t, %v", test.name, some, err)
			continue
		}
		if some && !sameEffect(e, test.want) {
			t.Errorf("%s\n got %+v\nwant %+v", test.name, e, test.want)
		}
		if err := check(d, &test.change); err != nil {
			t.Errorf("%s: Check: %v", test.name, err)
		}
	}
	if after := summary(users); after != before {
		t.Errorf("decisions changed the users\n from %s\n to   %s", before, after)
	}
}

// sameEffect compares effects; an empty list is none.
func sameEffect(a, b audience.Effect) bool {
	if len(a.Tagged)+len(b.Tagged) == 0 {
		a.Tagged, b.Tagged = nil, nil
	}
	if len(a.Untagged)+len(b.Untagged) == 0 {
		a.Untagged, b.Untagged = nil, nil
	}
	return reflect.DeepEqual(a, b)
}

// summary describes what decisions depend on, for a comparison.
func summary(s audience.State) string {
	text := fmt.Sprint(s.Len(), s.TagCount(), s.NextNumber())
	for user := range uint32(s.Len()) {
		text += fmt.Sprint(" ", s.Kind(user), s.Created(user), len(s.TagList(user, nil)))
	}
	return text
}

// A crowded state has room for nothing more, or as many tags as can have numbers.
type crowded struct {
	audience.State
	full bool
	tags int // besides those there are
}

func (c crowded) Full() bool    { return c.full }
func (c crowded) TagCount() int { return c.State.TagCount() + c.tags }

// refusals are changes that cannot be made.
var refusals = []struct {
	name   string
	change audience.Change
	kind   *apierr.Kind
	says   string
}{
	{"no such account", audience.Change{Account: "nobody"}, apierr.UnknownAccount, "account does not exist"},
	{"no name", audience.Change{Create: true}, apierr.UnknownAccount, "account does not exist"},
	{"a name that is too long", audience.Change{Account: strings.Repeat("x", 65), Create: true}, apierr.UnknownAccount, "account does not exist"},
	{"a RegistrationID, for a caller who knows none", audience.Change{Account: "phone", UserIDOnly: true}, apierr.UnknownAccount, "account does not exist"},
	{"a new RegistrationID, for a caller who knows none", audience.Change{Account: "new", Create: true, Kind: audience.RegistrationID, UserIDOnly: true}, apierr.UnknownAccount, "account does not exist"},
	{"an account of another kind", audience.Change{Account: "phone", OfKind: true}, apierr.WrongAccountKind, "the account exists with account type 1, not 0"},
	{"an attribute for RegistrationIDs", audience.Change{Account: "ann", Set: audience.Values{2: "x"}, Attributes: &attributes}, apierr.WrongAccountKind, "attribute model is not for this account type"},
	{"an attribute for UserIDs", audience.Change{Account: "phone", Set: audience.Values{2: "x", 1: "Rome"}, Attributes: &attributes}, apierr.WrongAccountKind, "attribute city is not for this account type"},
	{"an attribute for UserIDs, of a new account", audience.Change{Account: "new", Create: true, Kind: audience.RegistrationID, Set: audience.Values{"gold"}, Attributes: &attributes}, apierr.WrongAccountKind, "attribute plan is not for this account type"},
	{"a tag of RegistrationIDs", audience.Change{Account: "ann", Tags: add("c", "p")}, apierr.WrongAccountKind, "tag p is not for this account type"},
	{"a tag of UserIDs", audience.Change{Account: "phone", Tags: replace("p", "a")}, apierr.WrongAccountKind, "tag a is not for this account type"},
	{"one tag too many", audience.Change{Account: "full", Tags: add("f00", "a")}, apierr.TooManyTags, "the user would have 101 tags, it may have 100"},
	{"a replacement by too many", audience.Change{Account: "ann", Tags: replace(append(numbered("f", 99), "a", "c")...)}, apierr.TooManyTags, "the user would have 101 tags, it may have 100"},
	{"too many tags of a new account", audience.Change{Account: "new", Create: true, Tags: add(numbered("n", 101)...)}, apierr.TooManyTags, "the user would have 101 tags, it may have 100"},
	{"one tag too many for the app", audience.Change{Account: "bob", Tags: limited(add("z", "b", "c"), appTags+1)}, apierr.TooManyTags, "tag c is new, and the app may have 104 different tags"},
	{"a tag in the place of one that others have", audience.Change{Account: "bob", Tags: limited(replace("c"), appTags)}, apierr.TooManyTags, "tag c is new, and the app may have 103 different tags"},
	{"two tags in the place of one", audience.Change{Account: "ann", Tags: limited(replace("a", "c", "d"), appTags)}, apierr.TooManyTags, "tag c is new, and the app may have 103"},
}

func TestDeciderRefusals(t *testing.T) {
	d := audience.Decider{State: population(t), Now: now}
	for _, test := range refusals {
		var e audience.Effect
		some, err := d.Change(&test.change, &e)
		wantRefusal(t, test.name, some, err, test.kind, test.says)
		wantRefusal(t, test.name+", checked", false, check(d, &test.change), test.kind, test.says)
	}
}

func wantRefusal(t *testing.T, name string, some bool, err *apierr.Error, kind *apierr.Kind, says string) {
	t.Helper()
	if err == nil || some || err.Kind != kind || !strings.Contains(err.Info(), says) {
		t.Errorf("%s: effect %t, %v, want %d %s", name, some, err, kind.Code, says)
	}
}

// A full index takes nothing that may need room, and lets go of what it has.
func TestDeciderOfFullIndex(t *testing.T) {
	d := audience.Decider{State: crowded{State: population(t), full: true}, Now: now}
	for _, c := range []audience.Change{
		{Account: "new", Create: true},
		{Account: "ann", Set: audience.Values{"silver"}},
		{Account: "ann", Tags: add("c")},
		{Account: "ann", Tags: remove("a")},
	} {
		wantRefusal(t, fmt.Sprintf("%+v", c), false, check(d, &c), apierr.Internal, "the index of the app is full")
	}
	for _, c := range []audience.Change{
		{Account: "ann", Remove: slots(0)},
		{Account: "ann", Created: 9},
		{Account: "ann", Tags: audience.TagEdit{Op: audience.ClearTags}},
	} {
		if err := check(d, &c); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	wantRefusal(t, "an unknown account", false, check(d, &audience.Change{Account: "nobody"}), apierr.UnknownAccount, "does not exist")
}

// Numbers of tags have two bytes. A tag gets its number before the one that makes room
// for it has lost its own.
func TestDeciderOfNumbersOfTags(t *testing.T) {
	left := func(n int) audience.Decider {
		return audience.Decider{State: crowded{State: population(t), tags: audience.MostAppTags - appTags - n}, Now: now}
	}
	last := audience.Change{Account: "bob", Tags: add("c")}
	if err := check(left(1), &last); err != nil {
		t.Errorf("the last number: %v", err)
	}
	wantRefusal(t, "no number", false, check(left(0), &last), apierr.TooManyTags, "tag c is new, and the app may have 65536 different tags")
	last.Tags.AppMax = audience.MostAppTags + 1
	wantRefusal(t, "a limit above", false, check(left(0), &last), apierr.TooManyTags, "65536 different tags")
	change := audience.Change{Account: "ann", Tags: limited(replace("a", "c"), audience.MostAppTags)}
	wantRefusal(t, "a replacement", false, check(left(0), &change), apierr.TooManyTags, "65536 different tags")
	if err := check(left(1), &change); err != nil {
		t.Errorf("a replacement with the last number: %v", err)
	}
}

func TestDeciderKeepsRules(t *testing.T) {
	create := audience.Change{Account: "new", Create: true}
	broken := errors.New("the disk is gone")
	for _, test := range []struct {
		name    string
		rules   audience.Rules
		deleted int64
		err     error
		want    *apierr.Kind // nil: it is made
		says    string
	}{
		{"no rules", audience.Rules{}, now, broken, nil, ""},
		{"room for one", audience.Rules{MaxAccounts: next + 1}, 0, nil, nil, ""},
		{"no room", audience.Rules{MaxAccounts: next}, 0, nil, apierr.AccountLimit, "the app has 4 accounts, it may have 4"},
		{"never deleted", audience.Rules{ReimportWait: time.Hour}, 0, nil, nil, ""},
		{"deleted a moment ago", audience.Rules{ReimportWait: time.Minute}, now, nil, apierr.ReimportTooSoon, "can be made again after 1970-01-01T00:17:40Z"},
		{"the last second of the wait", audience.Rules{ReimportWait: time.Minute}, now - 59, nil, apierr.ReimportTooSoon, "can be made again after 1970-01-01T00:16:41Z"},
		{"after the wait", audience.Rules{ReimportWait: time.Minute}, now - 60, nil, nil, ""},
		{"deleted in a second to come", audience.Rules{ReimportWait: time.Minute}, now + 5, nil, apierr.ReimportTooSoon, "1970-01-01T00:17:45Z"},
		{"a wait of less than a second", audience.Rules{ReimportWait: time.Second - 1}, now, broken, nil, ""},
		{"the disk fails", audience.Rules{ReimportWait: time.Second}, 0, broken, apierr.Internal, "internal error"},
	} {
		d := audience.Decider{
			State: population(t), Now: now, Rules: test.rules,
			Deleted: func(account string) (int64, error) {
				if account != "new" {
					t.Errorf("%s: asked for the deletion of %q", test.name, account)
				}
				return test.deleted, test.err
			},
		}
		err := check(d, &create)
		if test.want == nil {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		wantRefusal(t, test.name, false, err, test.want, test.says)
		if test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: %v lacks its cause", test.name, err)
		}
		// Rules are about accounts that do not exist.
		if err := check(d, &audience.Change{Account: "ann", Create: true, Set: audience.Values{"silver"}}); err != nil {
			t.Errorf("%s: an account that exists: %v", test.name, err)
		}
	}
}

func TestDeciderDeletes(t *testing.T) {
	d := audience.Decider{State: population(t), Now: now}
	e := audience.Effect{Op: 9, Account: "x", Set: audience.Values{"x"}, Tagged: []string{"x"}, Untagged: []string{"x"}}
	if err := d.Delete("bob", audience.UserID, &e); err != nil || !sameEffect(e, audience.Effect{Op: audience.Remove, User: bob}) {
		t.Errorf("bob: %+v, %v", e, err)
	}
	if err := d.Delete("phone", audience.RegistrationID, &e); err != nil || e.User != phone {
		t.Errorf("phone: %+v, %v", e, err)
	}
	for account, kind := range map[string]audience.Kind{"nobody": audience.UserID, "": audience.UserID, "phone": audience.UserID, "ann": audience.RegistrationID} {
		wantRefusal(t, account, false, d.Delete(account, kind, &e), apierr.UnknownAccount, "does not exist")
	}
}

func TestAttributesMerged(t *testing.T) {
	has := audience.Attributes{{Name: "plan"}, {}, {Name: "model", Kind: audience.RegistrationID}}
	for _, test := range []struct {
		name string
		more audience.Attributes
		want audience.Attributes
		says string // of a refusal
	}{
		{"nothing", audience.Attributes{}, has, ""},
		{"the same", has, has, ""},
		{"a name in another slot", audience.Attributes{1: {Name: "plan"}}, has, ""},
		{"a free slot", audience.Attributes{1: {Name: "city"}}, audience.Attributes{{Name: "plan"}, {Name: "city"}, {Name: "model", Kind: audience.RegistrationID}}, ""},
		{"a slot with another name", audience.Attributes{{Name: "city"}}, has, `slot 0 is named "plan" and not "city"`},
		{"another account type", audience.Attributes{5: {Name: "plan", Kind: audience.RegistrationID}}, has, `attribute "plan" is for account type 0, which cannot be changed to 1`},
	} {
		got, err := has.Merged(&test.more)
		if test.says == "" && (err != nil || got != test.want) {
			t.Errorf("%s: %v, %v, want %v", test.name, got, err, test.want)
		}
		if test.says != "" {
			wantRefusal(t, test.name, false, err, apierr.InvalidAttribute, test.says)
		}
	}
}

// check returns why a change would be refused; nil if it would not.
func check(d audience.Decider, c *audience.Change) *apierr.Error {
	var e audience.Effect
	_, err := d.Change(c, &e)
	return err
}
