package api

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/gate"
)

type setAttrNameRequest struct {
	// The name of each slot, "0" to "9". Slots that are not in it stay as they are. A list
	// is taken for the slots 0, 1, ...
	AttrNames gate.Members `need:"yes" items:"0-10" list:"yes" note:"1 to 50 bytes each"`
	// Whom the attribute of a slot is for: 0 for UserIDs, 1 for RegistrationIDs. It is fixed
	// once the slot has a name.
	AttrTypes map[string]int64 `items:"0-10" list:"yes"`
}

// setAttrName names attribute slots. All names are set, or none. A name that another slot
// has, or another account type than the slot's, refuses the whole request. Contract: spec/timpush-api.md, 3.1.
func (s *Server) setAttrName(ctx context.Context, c *gate.Caller, in *setAttrNameRequest) (out struct{}, err error) {
	// The older family has no 90033 here (14): what it would say is a malformed
	// field there.
	invalid := apierr.InvalidAttribute
	if c.Older {
		invalid = apierr.BadJSON
	}
	names, kinds := map[int]string{}, map[int]audience.Kind{}
	for _, m := range in.AttrNames {
		slot, err := parseSlot(m.Name)
		if err != nil {
			return out, invalid.Errorf("AttrNames: %v", err)
		}
		if m.Value == "" || len(m.Value) > audience.MaxNameBytes {
			return out, invalid.Errorf("AttrNames[%d]: attribute name %s has %d bytes, it may have 1 to %d", slot, gate.Quote(m.Value), len(m.Value), audience.MaxNameBytes)
		}
		names[slot] = m.Value
	}
	for name, kind := range in.AttrTypes {
		slot, err := parseSlot(name)
		if err != nil {
			return out, invalid.Errorf("AttrTypes: %v", err)
		}
		if _, named := names[slot]; !named {
			return out, invalid.Errorf("AttrTypes[%d]: the slot is not in AttrNames", slot)
		}
		if kind != int64(audience.UserID) && kind != int64(audience.RegistrationID) {
			return out, invalid.Errorf("AttrTypes[%d]: %d is not an account type, 0 (UserID) or 1 (RegistrationID)", slot, kind)
		}
		kinds[slot] = audience.Kind(kind)
	}
	err = s.apps.NameAttributes(ctx, c.App.ID, names, kinds)
	if e := apierr.From(err); err != nil && e.Kind == apierr.InvalidAttribute {
		err = invalid.Errorf("%s", e.Info())
	}
	return out, err
}

type imSetAttrNameRequest struct {
	// The name of each slot, "0" to "9". Slots that are not in it stay as they are. A list
	// is taken for the slots 0, 1, ...
	AttrNames gate.Members `need:"yes" items:"0-10" list:"yes" note:"1 to 50 bytes each"`
}

// imSetAttrName is setAttrName of the older family, which has no AttrTypes.
func (s *Server) imSetAttrName(ctx context.Context, c *gate.Caller, in *imSetAttrNameRequest) (struct{}, error) {
	return s.setAttrName(ctx, c, &setAttrNameRequest{AttrNames: in.AttrNames})
}

func parseSlot(s string) (int, error) {
	slot, err := strconv.Atoi(s)
	if err != nil || slot < 0 || slot >= audience.Slots || strconv.Itoa(slot) != s {
		return 0, fmt.Errorf("%s is not a slot from \"0\" to \"%d\"", gate.Quote(s), audience.Slots-1)
	}
	return slot, nil
}

type getAttrNameResponse struct {
	AttrNames slotNames // The name of each slot that has one.
	AttrTypes slotKinds `json:",omitzero" newer:"yes"` // Whom the attribute of each slot is for: 0 for UserIDs, 1 for RegistrationIDs.
}

// slotNames and slotKinds are the slots that are set, by number.
type (
	slotNames struct{ of *audience.Attributes }
	slotKinds struct{ of *audience.Attributes }
)

func (slotNames) shape() reflect.Type { return reflect.TypeFor[map[string]string]() }
func (slotKinds) shape() reflect.Type { return reflect.TypeFor[map[string]int]() }

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

// getAttrName reads the names of the slots that have one, and their account types.
// Contract: spec/timpush-api.md, 3.2.
func (s *Server) getAttrName(_ context.Context, c *gate.Caller, _ *struct{}) (out getAttrNameResponse, err error) {
	out.AttrNames.of = &c.App.Attributes
	if !c.Older {
		out.AttrTypes.of = &c.App.Attributes
	}
	return out, nil
}

type setAttrRequest struct {
	UserAttrs []attrsToSet `need:"yes" items:"1-100" over:"90018"` // The users and their new values.
}

type attrsToSet struct {
	Account string       `json:"To_Account" need:"yes" account:"yes"`             // The user.
	Attrs   gate.Members `need:"yes" items:"0-10" note:"values of 1 to 50 bytes"` // Values by the name of the attribute. {} changes nothing.
}

// setAttr sets attributes of at most 100 users. Attributes that are not named stay as
// they are. A name that is not defined, or a value of the wrong length, refuses the whole
// request. An account that does not exist, or an attribute for the other account type, is
// reported, and the other accounts are done. Contract: spec/timpush-api.md, 4.1.
func (s *Server) setAttr(ctx context.Context, c *gate.Caller, in *setAttrRequest) (out changeResponse, err error) {
	changes := make([]audience.Change, len(in.UserAttrs))
	for i, entry := range in.UserAttrs {
		change := &changes[i]
		change.Account = entry.Account
		change.Attributes = &c.App.Attributes
		change.Create = c.App.Settings.CreateAccounts && c.App.Settings.UserIDs.Check(change.Account) == nil
		for _, m := range entry.Attrs {
			slot := c.App.Attributes.Index(m.Name)
			if slot < 0 {
				return out, undefined(i, m.Name)
			}
			if m.Value == "" || len(m.Value) > audience.MaxValueBytes {
				return out, apierr.InvalidAttribute.Errorf("UserAttrs[%d].Attrs.%s: value %s has %d bytes, it may have 1 to %d", i, m.Name, gate.Quote(m.Value), len(m.Value), audience.MaxValueBytes)
			}
			change.Set[slot] = m.Value
		}
	}
	return s.change(ctx, c, changes)
}

type removeAttrRequest struct {
	// The users and the names of the attributes to take away from each.
	UserAttrs []attrsToRemove `need:"yes" items:"1-100" over:"90018"`
}

type attrsToRemove struct {
	Account string   `json:"To_Account" need:"yes" account:"yes"` // The user.
	Attrs   []string `need:"yes"`                                 // The names of attributes. [] changes nothing.
}

// removeAttr takes attributes away from at most 100 users. A name that is not defined
// refuses the whole request. An account that does not exist is reported, and the other
// accounts are done. An attribute that a user lacks is no error. Contract:
// the seed; spec/timpush-api.md, 4.3.
func (s *Server) removeAttr(ctx context.Context, c *gate.Caller, in *removeAttrRequest) (out changeResponse, err error) {
	changes := make([]audience.Change, len(in.UserAttrs))
	for i, entry := range in.UserAttrs {
		changes[i].Account, changes[i].Attributes = entry.Account, &c.App.Attributes
		for _, name := range entry.Attrs {
			slot := c.App.Attributes.Index(name)
			if slot < 0 {
				return out, undefined(i, name)
			}
			changes[i].Remove.Add(slot)
		}
	}
	return s.change(ctx, c, changes)
}

func undefined(i int, name string) error {
	return apierr.InvalidAttribute.Errorf("invalid attribute: UserAttrs[%d].Attrs names %s, which is not set with set_attr_name", i, gate.Quote(name))
}

// change makes the changes of a request and lists those that failed. An account
// that was deleted and may not be made again yet simply does not exist: 70399 is
// for those who import it.
func (s *Server) change(ctx context.Context, c *gate.Caller, changes []audience.Change) (changeResponse, error) {
	if c.Older {
		for i := range changes {
			changes[i].UserIDOnly = true
		}
	}
	failures, err := s.users.Change(ctx, c.App.ID, changes)
	if err != nil {
		return changeResponse{}, err
	}
	for i, f := range failures {
		if f.Err.Kind == apierr.ReimportTooSoon {
			failures[i].Err = apierr.UnknownAccount.Errorf("account does not exist: %s", f.Err.Info())
		}
	}
	return changeResponse{errorList(c, failures)}, nil
}

type accountsRequest struct {
	Accounts []string `json:"To_Account" need:"yes" items:"1-100" over:"90018" account:"yes"` // The users.
}

type getAttrResponse struct {
	UserAttrs []userAttrs // One entry for each account that exists, in the order asked.
	accountErrors
}

type userAttrs struct {
	Account string `json:"To_Account"` // The account.
	Attrs   attrs  // Its values by the name of the attribute, in the order of the slots.
}

// AppendMembers writes the members of the answer.
func (r getAttrResponse) AppendMembers(b []byte) []byte {
	b = slices.Grow(b, 100*len(r.UserAttrs))
	b = append(b, `"UserAttrs":[`...)
	for i := range r.UserAttrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = gate.AppendText(append(b, `{"To_Account":`...), r.UserAttrs[i].Account)
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
		b = gate.AppendText(append(b, `{"To_Account":`...), e.Account)
		b = strconv.AppendInt(append(b, `,"ErrorCode":`...), int64(e.Code), 10)
		b = gate.AppendText(append(b, `,"ErrorInfo":`...), e.Info)
		b = append(b, '}')
	}
	if len(r.ErrorList) > 0 {
		b = append(b, ']')
	}
	return b
}

// getAttr reads the attributes of at most 100 users. Accounts that do not exist are in
// ErrorList. Contract:
// spec/timpush-api.md, 4.2.
func (s *Server) getAttr(ctx context.Context, c *gate.Caller, in *accountsRequest) (out getAttrResponse, err error) {
	out.UserAttrs = make([]userAttrs, 0, min(len(in.Accounts), audience.MaxUsers))
	out.accountErrors, err = s.eachUser(ctx, c, in, func(account string, u *audience.User) {
		out.UserAttrs = append(out.UserAttrs, userAttrs{account, attrs{&c.App.Attributes, u.Values}})
	})
	return out, err
}
