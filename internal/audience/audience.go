// Package audience says what a user of an app is - an account with attributes -
// and what may be changed about it. It does no I/O: the api package turns
// requests into Changes, a store applies them.
package audience

import (
	"tidings/internal/apierr"
)

// Slots is how many attribute slots an app has, "0" to "9". A user carries at
// most one value in each. Contract: spec/timpush-api.md, 3.
const Slots = 10

// Limits of the contract, in UTF-8 bytes where they are lengths
// (spec/timpush-api.md, 2.6; spec/conventions.md, 2.9 and 5.1).
const (
	MaxNameBytes    = 50  // attribute name
	MaxValueBytes   = 50  // attribute value
	MaxUserIDBytes  = 32  // UserID
	MaxAccountBytes = 64  // account of any kind; a RegistrationID is 36 in UUID form
	MaxProfileBytes = 500 // nickname, picture URL
	MaxTagBytes     = 50  // tag
	MaxTags         = 100 // tags of one user
	MaxUsers        = 100 // users in one attribute or account request
)

// Kind is the account type: who an account, an attribute slot or a tag is about.
type Kind uint8

// The account types; the numbers are those of AttrTypes on the wire
// (spec/timpush-api.md, 2.4).
const (
	UserID         Kind = 0 // a name given by the application
	RegistrationID Kind = 1 // one installation, made when a device registers
)

// Attributes are the ten attribute slots of an app: what each is called and
// whom it is about.
type Attributes [Slots]Attribute

// An Attribute is one slot. Without a name it is not set.
type Attribute struct {
	Name string `json:"name,omitempty"`
	Kind Kind   `json:"kind,omitempty"` // fixed once there is a name
}

// Index finds the slot with a name; -1 if no slot has it.
func (a *Attributes) Index(name string) int {
	if name == "" {
		return -1
	}
	for i := range a {
		if a[i].Name == name {
			return i
		}
	}
	return -1
}

// Values are the attribute values of a user by slot. The empty string is no
// value: the contract knows none.
type Values [Slots]string

// SlotSet is a set of attribute slots, bit n for slot n.
type SlotSet uint16

// Add puts slot n in.
func (s *SlotSet) Add(n int) { *s |= 1 << n }

// Has reports whether slot n is in.
func (s SlotSet) Has(n int) bool { return s&(1<<n) != 0 }

// Profile is what account import stores about an account besides its name. A
// nil field is left as it is. Contract: spec/conventions.md, 5.1.
type Profile struct {
	Nick    *string // nickname, at most MaxProfileBytes
	FaceURL *string // picture, at most MaxProfileBytes
	Clear   bool    // a nil field is taken away instead
}

// A Change is what one entry of a request does to one account. A store applies
// it whole or not at all.
type Change struct {
	Account string
	Create  bool    // make the account, of Kind, if it does not exist
	Kind    Kind    // of an account that is made
	Created uint32  // Unix second at which the account was made; 0: that of an existing one stays, a new one's is now
	Set     Values  // values to set; an empty one leaves the slot as it is
	Remove  SlotSet // slots to empty
	Tags    TagEdit
	Profile Profile

	// Attributes are those that Set and Remove were made from, so that a change of an app
	// whose attributes are others by now is told. Nil if both are empty.
	Attributes *Attributes
	// UserIDOnly is for a caller who knows no RegistrationIDs: to it, such an
	// account does not exist.
	UserIDOnly bool
	// OfKind refuses an account that exists and is not of Kind (90035).
	OfKind bool
}

// Grows reports whether the change may need room for something. Taking a tag away may
// too: the shorter list is stored in another place.
func (c *Change) Grows(exists bool) bool {
	return !exists || c.Set != Values{} || c.Tags.Op != KeepTags && c.Tags.Op != ClearTags
}

// Allows tells why the change may not be made to an account of a kind:
// 90035 if it sets an attribute that is for the other kind.
func (c *Change) Allows(kind Kind) *apierr.Error {
	if c.UserIDOnly && kind != UserID {
		return apierr.UnknownAccount.Errorf("account does not exist")
	}
	if c.OfKind && kind != c.Kind {
		return apierr.WrongAccountKind.Errorf("the account exists with account type %d, not %d", kind, c.Kind)
	}
	if c.Attributes == nil {
		return nil
	}
	for i, v := range c.Set {
		if v != "" && c.Attributes[i].Kind != kind {
			return apierr.WrongAccountKind.Errorf("attribute %s is not for this account type", c.Attributes[i].Name)
		}
	}
	return nil
}

// A User is what a request reads about one account.
type User struct {
	Exists bool
	Kind   Kind
	Values Values
	Tags   []string // in order
}

// A Failure is an account of a request that was not changed, and why. The
// other accounts were.
type Failure struct {
	Account string
	Err     *apierr.Error
}
