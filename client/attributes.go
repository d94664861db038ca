package client

import (
	"context"
	"fmt"
	"strconv"
)

// An AccountKind says what an account stands for: a name given by the application, or
// one installation of the application.
type AccountKind int

// The kinds of account. The numbers are those of the API.
const (
	UserID         AccountKind = 0
	RegistrationID AccountKind = 1
)

// Slots is how many attributes an app has, numbered from 0.
const Slots = 10

// An AttrName is the definition of one attribute of the app.
type AttrName struct {
	Name string      // 1 to 50 bytes, unique in the app
	Kind AccountKind // whom the attribute is about; fixed once the slot has a name
}

// attrNames holds the members of the body of set_attr_name and of the answer of
// get_attr_name.
type attrNames struct {
	AttrNames map[string]string
	AttrTypes map[string]AccountKind `json:",omitempty"`
}

// SetAttrNames names attribute slots of the app, 0 to 9. Other slots stay as they are.
// All names are set or none: a name that another slot has, and a Kind other than that
// of the slot, are refused with [ErrInvalidAttribute]. If a slot gets another name, the
// values in the slot stay.
//
// Limit: 100 calls per second. Command: timpush/set_attr_name.
func (c *Client) SetAttrNames(ctx context.Context, names map[int]AttrName) error {
	const command = "timpush/set_attr_name"
	in := attrNames{AttrNames: map[string]string{}, AttrTypes: map[string]AccountKind{}}
	for slot, n := range names {
		if slot < 0 || slot >= Slots {
			return fmt.Errorf("%s: there is no slot %d", command, slot)
		}
		if err := checkText(command, n.Name); err != nil {
			return err
		}
		key := strconv.Itoa(slot)
		in.AttrNames[key] = n.Name
		if n.Kind != UserID { // left out, it is UserID; servers of the older edition do not know the field
			in.AttrTypes[key] = n.Kind
		}
	}
	return c.Call(ctx, command, in, nil)
}

// AttrNames returns the attribute slots of the app that have a name. The map of an app
// without attributes is empty.
//
// Limit: 100 calls per second. Command: timpush/get_attr_name.
func (c *Client) AttrNames(ctx context.Context) (map[int]AttrName, error) {
	const command = "timpush/get_attr_name"
	var out attrNames
	if err := c.Call(ctx, command, nil, &out); err != nil {
		return nil, err
	}
	names := make(map[int]AttrName, len(out.AttrNames))
	for key, name := range out.AttrNames {
		slot, err := strconv.Atoi(key)
		if err != nil {
			return nil, fmt.Errorf("%s: the answer has a slot %q", command, key)
		}
		names[slot] = AttrName{Name: name, Kind: out.AttrTypes[key]}
	}
	return names, nil
}

// UserAttrs are attributes of one account, by name.
type UserAttrs struct {
	Account string            `json:"To_Account"` // UserID or RegistrationID
	Attrs   map[string]string // values of 1 to 50 bytes
}

// SetAttrs sets attributes of users. Other attributes stay as they are. Attributes must
// be defined with [Client.SetAttrNames] before: for one that is not defined, or a value
// that is empty or too long, the whole request is refused with [ErrInvalidAttribute] and
// changes nothing. Accounts that do not exist or are of the wrong kind are reported in
// [*AccountErrors]. If an account is listed twice, the later entry wins.
//
// Limit: 100 requests per second, of [MaxUsers] users each. Command:
// timpush/set_attr.
func (c *Client) SetAttrs(ctx context.Context, users []UserAttrs) error {
	const command = "timpush/set_attr"
	type request struct{ UserAttrs []UserAttrs }
	users = append([]UserAttrs(nil), users...)
	for i, u := range users {
		if err := checkText(command, u.Account); err != nil {
			return err
		}
		for name, value := range u.Attrs {
			if err := checkText(command, name, value); err != nil {
				return err
			}
		}
		if u.Attrs == nil {
			users[i].Attrs = map[string]string{} // null would be a missing member
		}
	}
	return inChunks(users, func(chunk []UserAttrs) error {
		return c.Call(ctx, command, request{chunk}, nil)
	})
}

// Attrs returns the attributes of accounts, in the order of the list. An account without
// attributes has an empty map. Accounts that do not exist are left out, and reported in
// an [*AccountErrors] that is returned together with the others.
//
// Limit: 100 requests per second, of [MaxUsers] accounts each. Command:
// timpush/get_attr.
func (c *Client) Attrs(ctx context.Context, accounts []string) ([]UserAttrs, error) {
	const command = "timpush/get_attr"
	if err := checkText(command, accounts...); err != nil {
		return nil, err
	}
	var users []UserAttrs
	err := inChunks(accounts, func(chunk []string) error {
		var out struct{ UserAttrs []UserAttrs }
		err := c.Call(ctx, command, accountsRequest{chunk}, &out)
		users = append(users, out.UserAttrs...)
		return err
	})
	return users, err
}

// An AttrRemoval names attributes to take away from one account.
type AttrRemoval struct {
	Account string   `json:"To_Account"` // UserID or RegistrationID
	Names   []string `json:"Attrs"`      // attribute names; none changes nothing
}

// RemoveAttrs takes attributes away from users. An attribute that a user does not have is
// no error. For a name that is not defined, the whole request is refused with
// [ErrInvalidAttribute] and changes nothing. Accounts that do not exist are reported in
// [*AccountErrors].
//
// Limit: 100 requests per second, of [MaxUsers] users each. Command:
// timpush/remove_attr.
func (c *Client) RemoveAttrs(ctx context.Context, users []AttrRemoval) error {
	const command = "timpush/remove_attr"
	type request struct{ UserAttrs []AttrRemoval }
	users = append([]AttrRemoval(nil), users...)
	for i, u := range users {
		if err := checkText(command, append([]string{u.Account}, u.Names...)...); err != nil {
			return err
		}
		if u.Names == nil {
			users[i].Names = []string{} // null would be a missing member
		}
	}
	return inChunks(users, func(chunk []AttrRemoval) error {
		return c.Call(ctx, command, request{chunk}, nil)
	})
}
