// Package audience holds the users of an app: accounts with attributes and tags, what
// changes to them do, and the conditions that select them. It does no I/O. Callers turn
// requests and files into Changes; a [Store] asks a [Decider] for the [Effect] of each,
// and keeps the effects. A [Condition] or a Where becomes an [Expr], which says of each
// user whether it is selected.
package audience

import (
	"tidings/internal/apierr"
)

// Slots is the number of attribute slots of an app, "0" to "9". A user has at most one
// value in each. Contract: spec/timpush-api.md, 3.
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

// Kind is the account type of an account, an attribute slot or a tag.
type Kind uint8

// The account types; the numbers are those of AttrTypes on the wire
// (spec/timpush-api.md, 2.4).
const (
	UserID         Kind = 0 // a name given by the application
	RegistrationID Kind = 1 // one installation of the application
)

// Attributes holds the definitions of an app's attributes, by slot.
type Attributes [Slots]Attribute

// An Attribute is the definition of one slot. A slot without a name is not in use.
type Attribute struct {
	Name string `json:"name,omitempty"`
	Kind Kind   `json:"kind,omitempty"` // of the accounts that can have values; fixed once the slot has a name
}

// Index returns the slot with a name, or -1 if no slot has the name.
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

// Values holds the attribute values of a user, by slot. An empty string stands for no
// value: the contract has no empty values.
type Values [Slots]string

// SlotSet is a set of attribute slots, bit n for slot n.
type SlotSet uint16

// Add adds slot n.
func (s *SlotSet) Add(n int) { *s |= 1 << n }

// Has reports whether slot n is in the set.
func (s SlotSet) Has(n int) bool { return s&(1<<n) != 0 }

// A Profile holds the fields of an account that only account import sets. A nil field
// leaves the account's as it is. Contract: spec/conventions.md, 5.1.
type Profile struct {
	Nick    *string // nickname, at most MaxProfileBytes
	FaceURL *string // picture, at most MaxProfileBytes
	Clear   bool    // a nil field deletes the account's instead
}

// A Change is what one entry of a request asks for one account. A store makes a change
// whole or not at all.
type Change struct {
	Account string
	Create  bool    // create the account, of Kind, if it does not exist
	Kind    Kind    // of an account that is created
	Created uint32  // Unix second of creation; 0 keeps that of an existing account, and is now for a new one
	Set     Values  // values to set; an empty one leaves the slot as it is
	Remove  SlotSet // slots to empty
	Tags    TagEdit
	Profile Profile

	// Attributes are the definitions by which names became the slots of Set and Remove. By
	// these a store notices that the definitions have changed since. Nil if both are empty.
	Attributes *Attributes
	// UserIDOnly treats a RegistrationID as an account that does not exist.
	UserIDOnly bool
	// OfKind refuses an existing account that is not of Kind (90035).
	OfKind bool
}

// Grows reports whether the change may need room in the index. Removing a tag may need
// room too: the shorter list is stored in another place.
func (c *Change) Grows(exists bool) bool {
	return !exists || c.Set != Values{} || c.Tags.Op != KeepTags && c.Tags.Op != ClearTags
}

// Allows returns why the change may not be made to an account of a kind: 70107 if the
// account does not exist to the caller, 90035 if an attribute or the caller wants the
// other kind; nil if it may.
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

// A User is the answer to a request for one account.
type User struct {
	Exists bool
	Kind   Kind
	Values Values
	Tags   []string // in order
}

// A Failure says which account of a request was not changed, and why. The other accounts
// were changed.
type Failure struct {
	Account string
	Err     *apierr.Error
}
