package api

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/gate"
)

type setAttrNameRequest struct {
	// Names by slot, "0" to "9".
	AttrNames gate.Members `need:"yes" items:"0-10" list:"yes" note:"1 to 50 bytes each"`
	// Account types by slot: 0 is a UserID, 1 a RegistrationID.
	AttrTypes map[string]int64 `items:"0-10" list:"yes"`
}

// setAttrName names attribute slots and fixes their account type; slots not in
// the request stay. A name that another slot has, or a changed account type,
// refuses the whole request. Contract: spec/timpush-api.md, 3.1.
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
	// Names by slot, "0" to "9".
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
func (s *Server) getAttrName(_ context.Context, c *gate.Caller, _ *struct{}) (out getAttrNameResponse, err error) {
	out.AttrNames.of = &c.App.Attributes
	if !c.Older {
		out.AttrTypes.of = &c.App.Attributes
	}
	return out, nil
}

type setAttrRequest struct {
	UserAttrs []attrsToSet `need:"yes" items:"1-100" over:"90018"`
}

type attrsToSet struct {
	Account string       `json:"To_Account" need:"yes" account:"yes"`
	Attrs   gate.Members `need:"yes" items:"0-10" note:"values of 1 to 50 bytes"`
}

// setAttr sets attributes of at most 100 users; those not named stay. An
// undefined name or a value of the wrong length refuses the whole request.
// Accounts that do not exist, or are of the other type, are reported and the
// others are done. Contract: spec/timpush-api.md, 4.1.
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
	// Users and the names of the attributes to take away from each.
	UserAttrs []attrsToRemove `need:"yes" items:"1-100" over:"90018"`
}

type attrsToRemove struct {
	Account string   `json:"To_Account" need:"yes" account:"yes"`
	Attrs   []string `need:"yes"`
}

// removeAttr takes attributes away from at most 100 users. An undefined name
// refuses the whole request; an account that does not exist is reported and
// the others are done; an attribute that a user lacks is no error. Contract:
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
	Accounts []string `json:"To_Account" need:"yes" items:"1-100" over:"90018" account:"yes"`
}

type getAttrResponse struct {
	UserAttrs []userAttrs
	accountErrors
}

type userAttrs struct {
	Account string `json:"To_Account"`
	Attrs   attrs
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

// getAttr reads the attributes of at most 100 users, in the order asked.
// Accounts that do not exist are in ErrorList instead. Contract:
// spec/timpush-api.md, 4.2.
func (s *Server) getAttr(ctx context.Context, c *gate.Caller, in *accountsRequest) (out getAttrResponse, err error) {
	out.UserAttrs = make([]userAttrs, 0, min(len(in.Accounts), audience.MaxUsers))
	out.accountErrors, err = s.eachUser(ctx, c, in, func(account string, u *audience.User) {
		out.UserAttrs = append(out.UserAttrs, userAttrs{account, attrs{&c.App.Attributes, u.Values}})
	})
	return out, err
}
