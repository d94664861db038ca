package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

type setAttrNameRequest struct {
	AttrNames members
	AttrTypes map[string]*int64
}

// setAttrName names attribute slots and fixes their account type; slots not in
// the request stay. A name that another slot has, or a changed account type,
// refuses the whole request. Contract: spec/timpush-api.md, 3.1.
func (s *Server) setAttrName(ctx context.Context, c *caller, in *setAttrNameRequest) (out struct{}, err error) {
	// The older family has no 90033 here (14): what it would say is a malformed
	// field there.
	invalid := apierr.InvalidAttribute
	if c.Legacy {
		invalid = apierr.BadJSON
	}
	if !in.AttrNames.set {
		return out, apierr.BadJSON.Errorf("AttrNames is missing")
	}
	names, kinds := map[int]string{}, map[int]audience.Kind{}
	for _, m := range in.AttrNames.list {
		slot, err := parseSlot(m.name)
		if err != nil {
			return out, invalid.Errorf("AttrNames: %v", err)
		}
		if m.value == "" || len(m.value) > audience.MaxNameBytes {
			return out, invalid.Errorf("AttrNames[%d]: attribute name %s has %d bytes, it may have 1 to %d", slot, clip(m.value), len(m.value), audience.MaxNameBytes)
		}
		names[slot] = m.value
	}
	for name, kind := range in.AttrTypes {
		if kind == nil {
			continue
		}
		slot, err := parseSlot(name)
		if err != nil {
			return out, invalid.Errorf("AttrTypes: %v", err)
		}
		if _, named := names[slot]; !named {
			return out, invalid.Errorf("AttrTypes[%d]: the slot is not in AttrNames", slot)
		}
		if *kind != int64(audience.UserID) && *kind != int64(audience.RegistrationID) {
			return out, invalid.Errorf("AttrTypes[%d]: %d is not an account type, 0 (UserID) or 1 (RegistrationID)", slot, *kind)
		}
		kinds[slot] = audience.Kind(*kind)
	}
	err = s.apps.NameAttributes(ctx, c.App.ID, names, kinds)
	if e := apierr.From(err); err != nil && e.Kind == apierr.InvalidAttribute {
		err = invalid.Errorf("%s", e.Info())
	}
	return out, err
}

// imSetAttrName is setAttrName of the older family, which has no AttrTypes.
func (s *Server) imSetAttrName(ctx context.Context, c *caller, in *struct{ AttrNames members }) (struct{}, error) {
	return s.setAttrName(ctx, c, &setAttrNameRequest{AttrNames: in.AttrNames})
}

func parseSlot(s string) (int, error) {
	slot, err := strconv.Atoi(s)
	if err != nil || slot < 0 || slot >= audience.Slots || strconv.Itoa(slot) != s {
		return 0, fmt.Errorf("%s is not a slot from \"0\" to \"%d\"", clip(s), audience.Slots-1)
	}
	return slot, nil
}

type getAttrNameResponse struct {
	AttrNames slotNames
	AttrTypes slotKinds `json:",omitzero"`
}

// slotNames and slotKinds are the slots that are set, by number.
type (
	slotNames struct{ of *audience.Attributes }
	slotKinds struct{ of *audience.Attributes }
)

// MarshalJSONTo writes an object of slot and name.
func (n slotNames) MarshalJSONTo(enc *jsontext.Encoder) error {
	return writeSlots(enc, n.of, func(a audience.Attribute) jsontext.Token { return jsontext.String(a.Name) })
}

// MarshalJSONTo writes an object of slot and account type.
func (k slotKinds) MarshalJSONTo(enc *jsontext.Encoder) error {
	return writeSlots(enc, k.of, func(a audience.Attribute) jsontext.Token { return jsontext.Uint(uint64(a.Kind)) })
}

func writeSlots(enc *jsontext.Encoder, of *audience.Attributes, value func(audience.Attribute) jsontext.Token) error {
	if err := enc.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i, a := range of {
		if a.Name == "" {
			continue
		}
		if err := enc.WriteToken(jsontext.String(strconv.Itoa(i))); err != nil {
			return err
		}
		if err := enc.WriteToken(value(a)); err != nil {
			return err
		}
	}
	return enc.WriteToken(jsontext.EndObject)
}

// getAttrName reads the names of the slots that are set, and, but for the older
// family, their account types. Contract: spec/timpush-api.md, 3.2.
func (s *Server) getAttrName(_ context.Context, c *caller, _ *struct{}) (out getAttrNameResponse, err error) {
	out.AttrNames.of = &c.App.Attributes
	if !c.Legacy {
		out.AttrTypes.of = &c.App.Attributes
	}
	return out, nil
}

type setAttrRequest struct {
	UserAttrs []struct {
		Account userID `json:"To_Account"`
		Attrs   members
	}
}

// setAttr sets attributes of at most 100 users; those not named stay. An
// undefined name or a value of the wrong length refuses the whole request.
// Accounts that do not exist, or are of the other type, are reported and the
// others are done. Contract: spec/timpush-api.md, 4.1.
func (s *Server) setAttr(ctx context.Context, c *caller, in *setAttrRequest) (out accountErrors, err error) {
	for i, entry := range in.UserAttrs {
		if err := entry.Account.require("UserAttrs", i); err != nil {
			return out, err
		}
		if !entry.Attrs.set {
			return out, apierr.BadJSON.Errorf("UserAttrs[%d].Attrs is missing", i)
		}
	}
	if err := countUsers("UserAttrs", len(in.UserAttrs)); err != nil {
		return out, err
	}
	changes := make([]audience.Change, len(in.UserAttrs))
	for i, entry := range in.UserAttrs {
		change := &changes[i]
		change.Account = entry.Account.value
		change.Attributes = &c.App.Attributes
		change.Create = c.App.Settings.CreateAccounts && c.App.Settings.UserIDs.Check(change.Account) == nil
		for _, m := range entry.Attrs.list {
			slot := c.App.Attributes.Index(m.name)
			if slot < 0 {
				return out, undefined(i, m.name)
			}
			if m.value == "" || len(m.value) > audience.MaxValueBytes {
				return out, apierr.InvalidAttribute.Errorf("UserAttrs[%d].Attrs.%s: value %s has %d bytes, it may have 1 to %d", i, m.name, clip(m.value), len(m.value), audience.MaxValueBytes)
			}
			change.Set[slot] = m.value
		}
	}
	return s.change(ctx, c, changes)
}

type removeAttrRequest struct {
	UserAttrs []struct {
		Account userID `json:"To_Account"`
		Attrs   []text
	}
}

// removeAttr takes attributes away from at most 100 users. An undefined name
// refuses the whole request; an account that does not exist is reported and
// the others are done; an attribute that a user lacks is no error. Contract:
// the seed; spec/timpush-api.md, 4.3.
func (s *Server) removeAttr(ctx context.Context, c *caller, in *removeAttrRequest) (out accountErrors, err error) {
	for i, entry := range in.UserAttrs {
		if err := entry.Account.require("UserAttrs", i); err != nil {
			return out, err
		}
		if entry.Attrs == nil {
			return out, apierr.BadJSON.Errorf("UserAttrs[%d].Attrs is missing", i)
		}
		for j, name := range entry.Attrs {
			if !name.set {
				return out, apierr.BadJSON.Errorf("UserAttrs[%d].Attrs[%d]: want a string, got null", i, j)
			}
		}
	}
	if err := countUsers("UserAttrs", len(in.UserAttrs)); err != nil {
		return out, err
	}
	changes := make([]audience.Change, len(in.UserAttrs))
	for i, entry := range in.UserAttrs {
		changes[i].Account, changes[i].Attributes = entry.Account.value, &c.App.Attributes
		for _, name := range entry.Attrs {
			slot := c.App.Attributes.Index(name.value)
			if slot < 0 {
				return out, undefined(i, name.value)
			}
			changes[i].Remove.Add(slot)
		}
	}
	return s.change(ctx, c, changes)
}

func undefined(i int, name string) error {
	return apierr.InvalidAttribute.Errorf("invalid attribute: UserAttrs[%d].Attrs names %s, which is not set with set_attr_name", i, clip(name))
}

// change makes the changes of a request and lists those that failed. An account
// that was deleted and may not be made again yet simply does not exist: 70399 is
// for those who import it.
func (s *Server) change(ctx context.Context, c *caller, changes []audience.Change) (accountErrors, error) {
	if c.Legacy {
		for i := range changes {
			changes[i].UserIDOnly = true
		}
	}
	failures, err := s.users.Change(ctx, c.App.ID, changes)
	if err != nil {
		return accountErrors{}, err
	}
	for i, f := range failures {
		if f.Err.Kind == apierr.ReimportTooSoon {
			failures[i].Err = apierr.UnknownAccount.Errorf("account does not exist: %s", f.Err.Info())
		}
	}
	return c.errorList(failures), nil
}

// require is for the To_Account of an entry: it must be there.
func (u *userID) require(list string, i int) error {
	if !u.set {
		return apierr.BadJSON.Errorf("%s[%d].To_Account is missing", list, i)
	}
	return nil
}

// countUsers refuses a list of users that is empty or absent (90001), or too
// long (90018).
func countUsers(list string, n int) error {
	switch {
	case n == 0:
		return apierr.BadJSON.Errorf("%s is missing or empty", list)
	case n > audience.MaxUsers:
		return apierr.TooManyAccounts.Errorf("%s has %d entries, at most %d are allowed", list, n, audience.MaxUsers)
	}
	return nil
}

type accountsRequest struct {
	Accounts []userID `json:"To_Account"`
}

// names are the accounts of the request, if it is well formed.
func (in *accountsRequest) names() ([]string, error) {
	names := make([]string, len(in.Accounts))
	for i, a := range in.Accounts {
		if !a.set {
			return nil, apierr.BadJSON.Errorf("To_Account[%d]: want a string, got null", i)
		}
		names[i] = a.value
	}
	return names, countUsers("To_Account", len(names))
}

type getAttrResponse struct {
	UserAttrs []userAttrs
	accountErrors
}

type userAttrs struct {
	Account string `json:"To_Account"`
	Attrs   attrs
}

// appendMembers writes the members of the answer.
func (r getAttrResponse) appendMembers(b []byte) []byte {
	b = slices.Grow(b, 100*len(r.UserAttrs))
	b = append(b, `"UserAttrs":[`...)
	for i := range r.UserAttrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"To_Account":`...), r.UserAttrs[i].Account)
		b = r.UserAttrs[i].Attrs.append(append(b, `,"Attrs":`...))
		b = append(b, '}')
	}
	b = append(b, ']')
	for i, e := range r.ErrorList {
		if i == 0 {
			b = append(b, `,"ErrorList":[`...)
		} else {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"To_Account":`...), e.Account)
		b = strconv.AppendInt(append(b, `,"ErrorCode":`...), int64(e.Code), 10)
		b = appendText(append(b, `,"ErrorInfo":`...), e.Info)
		b = append(b, '}')
	}
	if len(r.ErrorList) > 0 {
		b = append(b, ']')
	}
	return b
}

// getAttr reads the attributes of at most 100 users, in the order asked.
// Accounts that do not exist are in ErrorList instead. Contract:
// spec/timpush-api.md, 4.2.
func (s *Server) getAttr(ctx context.Context, c *caller, in *accountsRequest) (out getAttrResponse, err error) {
	out.UserAttrs = make([]userAttrs, 0, min(len(in.Accounts), audience.MaxUsers))
	out.accountErrors, err = s.eachUser(ctx, c, in, func(account string, u *audience.User) {
		out.UserAttrs = append(out.UserAttrs, userAttrs{account, attrs{&c.App.Attributes, u.Values}})
	})
	return out, err
}
