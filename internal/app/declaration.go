package app

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/wording"
)

// A Declaration says what an app should be like: an entry of the configuration
// file, or a command of the operator. What it leaves out (nil) stays as it is,
// or gets its default in a new app.
type Declaration struct {
	ID          uint32            `json:"sdkappid"`
	Name        *string           `json:"name,omitempty"`
	Description *string           `json:"description,omitempty"`
	Status      *Status           `json:"status,omitempty"`
	SecretKey   *string           `json:"secret_key,omitempty"` // the primary key; others stay as they are
	Retiring    []RetiringKey     `json:"retiring_keys,omitzero"`
	Admins      []string          `json:"admins,omitzero"`      // the whole list; BuiltInAdmin need not be named
	AttrNames   map[string]string `json:"attr_names,omitempty"` // slot "0" to "9" to name
	AttrTypes   map[string]int    `json:"attr_types,omitempty"` // slot to account type, default 0

	CreateAccounts   *bool          `json:"create_accounts,omitempty"`
	MaxAccounts      *int           `json:"max_accounts,omitempty"`
	UserIDs          *UserIDs       `json:"user_ids,omitempty"`
	DeleteAccounts   *bool          `json:"delete_accounts,omitempty"`
	ReimportWait     *time.Duration `json:"reimport_wait,omitempty"`
	Limits           Limits         `json:"limits,omitzero"`
	MaxTags          *int           `json:"max_tags,omitempty"`
	Hosts            []string       `json:"hosts,omitzero"`
	Addresses        []netip.Prefix `json:"addresses,omitzero"`
	BlockedAccounts  []string       `json:"blocked_accounts,omitzero"`
	DisabledCommands []string       `json:"disabled_commands,omitzero"`
}

// A RetiringKey is an older key that is still accepted, until Ends if that is set.
type RetiringKey struct {
	SecretKey string    `json:"secret_key"`
	Ends      time.Time `json:"ends,omitzero"`
}

// A FieldError is a mistake in one member of a Declaration.
type FieldError struct {
	Field string // as in the configuration file: "limits.timpush/set_attr", "admins[2]"
	Msg   string // what is wrong with it; never holds a secret
}

func (e FieldError) Error() string { return e.Field + ": " + e.Msg }

// Check lists every mistake of a declaration that shows without knowing the
// app. Commands are the names that limits and disabled_commands may hold.
func (d *Declaration) Check(commands []string) []FieldError {
	var errs []FieldError
	wrong := func(field, format string, args ...any) {
		errs = append(errs, FieldError{field, fmt.Sprintf(format, args...)})
	}
	if d.ID == 0 {
		wrong("sdkappid", "must be a number from 1 to 4294967295")
	}
	if d.Name != nil && len(*d.Name) > maxNameBytes {
		wrong("name", "is longer than %d bytes", maxNameBytes)
	}
	if d.Description != nil && len(*d.Description) > maxDescriptionBytes {
		wrong("description", "is longer than %d bytes", maxDescriptionBytes)
	}
	if d.Status != nil && !slices.Contains([]Status{Enabled, Disabled, Suspended}, *d.Status) {
		wrong("status", "%q is none of enabled, disabled, suspended", *d.Status)
	}
	if d.SecretKey != nil {
		if err := checkSecret(*d.SecretKey); err != nil {
			wrong("secret_key", "%v", err)
		}
	}
	for i, k := range d.Retiring {
		if err := checkSecret(k.SecretKey); err != nil {
			wrong(fmt.Sprintf("retiring_keys[%d].secret_key", i), "%v", err)
		}
	}
	userIDs := UTF8 // unsaid, what the app has decides
	if d.UserIDs != nil {
		userIDs = *d.UserIDs
		if userIDs != ASCII && userIDs != UTF8 {
			wrong("user_ids", "%q is none of ascii, utf8", userIDs)
			userIDs = UTF8
		}
	}
	for i, a := range d.Admins {
		if err := userIDs.Check(a); err != nil {
			wrong(fmt.Sprintf("admins[%d]", i), "%v", err)
		}
	}
	if n := len(withBuiltIn(d.Admins)); n > MaxAdmins {
		wrong("admins", "has %d names with %s, an app may have %d", n, BuiltInAdmin, MaxAdmins)
	}
	for i, a := range d.BlockedAccounts {
		if err := UTF8.Check(a); err != nil {
			wrong(fmt.Sprintf("blocked_accounts[%d]", i), "%v", err)
		}
	}
	errs = append(errs, d.checkAttributes()...)
	for name, n := range d.Limits {
		field := "limits." + name
		if name != LimitDefault && name != LimitTotal && !slices.Contains(commands, name) {
			wrong(field, "is no command; commands are written like %q", "timpush/remove_attr")
		}
		if n < 0 || n > MaxLimit {
			wrong(field, "%d is not a number of calls per second from 0 (unlimited) to %d", n, MaxLimit)
		}
	}
	if d.MaxAccounts != nil && (*d.MaxAccounts < 0 || *d.MaxAccounts > MaxAppAccounts) {
		wrong("max_accounts", "%d is not a number of accounts from 0 (no limit) to %d", *d.MaxAccounts, MaxAppAccounts)
	}
	if w := d.ReimportWait; w != nil && (*w < 0 || *w > MaxReimportWait || *w%time.Second != 0) {
		wrong("reimport_wait", "%s is not a time in whole seconds from 0 (none) to %s", wording.Duration(*w), wording.Duration(MaxReimportWait))
	}
	if d.MaxTags != nil && (*d.MaxTags < 0 || *d.MaxTags > MaxAppTags) {
		wrong("max_tags", "%d is not a number of different tags from 0 (no limit of its own) to %d", *d.MaxTags, MaxAppTags)
	}
	for i, name := range d.DisabledCommands {
		if !slices.Contains(commands, name) {
			wrong(fmt.Sprintf("disabled_commands[%d]", i), "%q is no command; commands are written like %q", name, "timpush/remove_attr")
		}
	}
	for i, h := range d.Hosts {
		if h == "" || strings.ContainsAny(h, "/:@ ") {
			wrong(fmt.Sprintf("hosts[%d]", i), "%q is not a host name (write it without scheme and port)", h)
		}
	}
	slices.SortStableFunc(errs, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return errs
}

// Limits on what an operator may write, generous and finite.
const (
	maxNameBytes        = 200
	maxDescriptionBytes = 2000
	maxSecretBytes      = 512
	minSecretBytes      = 8
	// MaxAppAccounts is the highest limit of accounts of an app.
	MaxAppAccounts = 1_000_000_000
	// MaxReimportWait is the longest wait before a deleted account can be made
	// again: the three months of the hosted service (spec/conventions.md, 5.3).
	MaxReimportWait = 92 * 24 * time.Hour
	// MaxAppTags is the highest limit of different tags of an app.
	MaxAppTags = 60_000
	// MaxLimit is the highest rate that can be set, in calls per second.
	MaxLimit = 10_000_000
)

func (d *Declaration) checkAttributes() []FieldError {
	var errs []FieldError
	slotOf := map[string]string{}
	for i := range audience.Slots {
		slot := strconv.Itoa(i)
		name, ok := d.AttrNames[slot]
		if !ok {
			continue
		}
		field := "attr_names." + slot
		if name == "" || len(name) > audience.MaxNameBytes {
			errs = append(errs, FieldError{field, fmt.Sprintf("%q is not an attribute name of 1 to %d bytes", name, audience.MaxNameBytes)})
		} else if other, taken := slotOf[name]; taken {
			errs = append(errs, FieldError{field, fmt.Sprintf("%q is already the name of slot %s", name, other)})
		}
		slotOf[name] = slot
	}
	for slot := range d.AttrNames {
		if !isSlot(slot) {
			errs = append(errs, FieldError{"attr_names." + slot, fmt.Sprintf("%q is not a slot from 0 to %d", slot, audience.Slots-1)})
		}
	}
	for slot, kind := range d.AttrTypes {
		if _, ok := d.AttrNames[slot]; !ok {
			errs = append(errs, FieldError{"attr_types." + slot, "has no name in attr_names"})
		}
		if kind != int(audience.UserID) && kind != int(audience.RegistrationID) {
			errs = append(errs, FieldError{"attr_types." + slot, fmt.Sprintf("%d is not an account type: 0 (UserID) or 1 (RegistrationID)", kind)})
		}
	}
	return errs
}

func isSlot(s string) bool { return len(s) == 1 && s[0] >= '0' && s[0] < '0'+audience.Slots }

// checkSecret accepts what NewSecret makes and, since keys are used as text,
// what other installations have issued.
func checkSecret(s string) error {
	if len(s) < minSecretBytes || len(s) > maxSecretBytes {
		return fmt.Errorf("must have %d to %d bytes, has %d", minSecretBytes, maxSecretBytes, len(s))
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return fmt.Errorf("must be text without control characters")
		}
	}
	return nil
}

// NewSecret makes a secret key from random bytes: 64 lower-case hexadecimal
// digits (spec/conventions.md, 1.7).
func NewSecret(random [32]byte) string { return hex.EncodeToString(random[:]) }

func withBuiltIn(admins []string) []string {
	all := append([]string{BuiltInAdmin}, admins...)
	slices.Sort(all)
	return slices.Compact(all)
}

// apply makes a what d says. d was checked.
func (d *Declaration) apply(a *App) error {
	set(&a.Name, d.Name)
	set(&a.Description, d.Description)
	set(&a.Status, d.Status)
	for _, k := range d.Retiring {
		if err := a.declareRetiring(k); err != nil {
			return err
		}
	}
	if d.SecretKey != nil {
		if err := a.declarePrimary(Secret(*d.SecretKey)); err != nil {
			return err
		}
	}
	set(&a.Settings.UserIDs, d.UserIDs)
	if d.Admins != nil {
		for _, admin := range d.Admins {
			if err := a.Settings.UserIDs.Check(admin); err != nil {
				return errorf("admins of app %d: %v", a.ID, err)
			}
		}
		if err := a.setAdmins(d.Admins); err != nil {
			return err
		}
	}
	names, kinds := map[int]string{}, map[int]audience.Kind{}
	for slot, name := range d.AttrNames {
		i, _ := strconv.Atoi(slot)
		names[i] = name
	}
	for slot, kind := range d.AttrTypes {
		i, _ := strconv.Atoi(slot)
		kinds[i] = audience.Kind(kind)
	}
	if err := a.nameAttributes(names, kinds); err != nil {
		return errorf("attr_names of app %d: %s", a.ID, apierr.From(err).Info())
	}
	s := &a.Settings
	set(&s.CreateAccounts, d.CreateAccounts)
	set(&s.MaxAccounts, d.MaxAccounts)
	set(&s.ReimportWait, d.ReimportWait)
	if d.DeleteAccounts != nil {
		s.KeepAccounts = !*d.DeleteAccounts
	}
	if d.Limits != nil {
		s.Limits = maps.Clone(d.Limits)
	}
	if d.MaxTags != nil {
		s.MaxTags = d.MaxTags
	}
	setList(&s.Hosts, d.Hosts)
	setList(&s.Addresses, d.Addresses)
	setList(&s.BlockedAccounts, d.BlockedAccounts)
	setList(&s.DisabledCommands, d.DisabledCommands)
	return nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func setList[T any](to *[]T, from []T) {
	if from != nil {
		*to = slices.Clone(from)
	}
}

// declarePrimary makes the key with this secret the primary one.
func (a *App) declarePrimary(secret Secret) error {
	for i := range a.Keys {
		if a.Keys[i].Secret == secret {
			for j := range a.Keys {
				a.Keys[j].Primary = j == i
			}
			a.Keys[i].Ends = time.Time{}
			return nil
		}
	}
	if len(a.Keys) >= maxKeys {
		return errorf("app %d has %d keys, remove one first", a.ID, len(a.Keys))
	}
	a.addKey(secret, true)
	return nil
}

func (a *App) declareRetiring(r RetiringKey) error {
	for i := range a.Keys {
		if a.Keys[i].Secret == Secret(r.SecretKey) {
			a.Keys[i].Primary, a.Keys[i].Ends = false, r.Ends.UTC()
			return nil
		}
	}
	if len(a.Keys) >= maxKeys {
		return errorf("app %d has %d keys, remove one first", a.ID, len(a.Keys))
	}
	k := a.addKey(Secret(r.SecretKey), false)
	a.key(k.ID).Ends = r.Ends.UTC()
	return nil
}
