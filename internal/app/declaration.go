package app

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/channel"
	"tidings/internal/wording"
)

// A Declaration says what an app should be like: an entry of the configuration
// file, or a command of the operator. What it leaves out (nil) stays as it is,
// or gets its default in a new app.
type Declaration struct {
	ID        uint32        `json:"sdkappid"`
	SecretKey *string       `json:"secret_key,omitempty"` // the primary key; others stay as they are
	Retiring  []RetiringKey `json:"retiring_keys,omitzero"`
	AppKeys   []string      `json:"app_keys,omitzero"` // that the app has besides others

	// The members of the table of settings, in its order.
	Name             *string           `json:"name,omitempty"`
	Description      *string           `json:"description,omitempty"`
	Status           *Status           `json:"status,omitempty"`
	UserIDs          *UserIDs          `json:"user_ids,omitempty"`
	Admins           []string          `json:"admins,omitzero"`     // the whole list; BuiltInAdmin need not be named
	AttrNames        map[string]string `json:"attr_names,omitzero"` // slot "0" to "9" to name
	AttrTypes        map[string]int    `json:"attr_types,omitzero"` // slot to account type, default 0
	CreateAccounts   *bool             `json:"create_accounts,omitempty"`
	MaxAccounts      *int              `json:"max_accounts,omitempty"`
	DeleteAccounts   *bool             `json:"delete_accounts,omitempty"`
	ReimportWait     *wording.Span     `json:"reimport_wait,omitempty"`
	Limits           Limits            `json:"limits,omitzero"`
	MaxTags          *int              `json:"max_tags,omitempty"`
	Hosts            []string          `json:"hosts,omitzero"`
	Addresses        []netip.Prefix    `json:"addresses,omitzero"`
	BlockedAccounts  []string          `json:"blocked_accounts,omitzero"`
	DisabledCommands []string          `json:"disabled_commands,omitzero"`

	Push                   *bool              `json:"push,omitempty"`
	PushGap                *wording.Span      `json:"push_gap,omitempty"`
	PushQuota              *int               `json:"push_quota,omitempty"`
	PushQuotaZone          *string            `json:"push_quota_zone,omitempty"`
	Lifetime               *wording.Span      `json:"lifetime,omitempty"`
	PendingTasks           *int               `json:"pending_tasks,omitempty"`
	PushPace               *int               `json:"push_pace,omitempty"`
	TaskPace               *int               `json:"task_pace,omitempty"`
	ChannelOrder           []channel.Provider `json:"channel_order,omitzero"`
	PreviewDrift           *int               `json:"preview_drift,omitempty"`
	DeviceLimit            *int               `json:"device_limit,omitempty"`
	DevicesAUser           *int               `json:"devices_a_user,omitempty"`
	RegistrationRate       *int               `json:"registration_rate,omitempty"`
	RegistrationSourceRate *int               `json:"registration_source_rate,omitempty"`
	DeviceOrigins          []string           `json:"device_origins,omitzero"`
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

// Check returns every mistake of a declaration that shows without knowing the
// app. Commands are the names that limits and disabled_commands may hold.
func (d *Declaration) Check(commands []string) (errs []FieldError) {
	if d.ID == 0 {
		errs = append(errs, FieldError{"sdkappid", "must be a number from 1 to 4294967295"})
	}
	if d.SecretKey != nil {
		errs = append(errs, fieldError("secret_key", checkSecret(*d.SecretKey))...)
	}
	for i, k := range d.Retiring {
		errs = append(errs, fieldError(fmt.Sprintf("retiring_keys[%d].secret_key", i), checkSecret(k.SecretKey))...)
	}
	for i, k := range d.AppKeys {
		errs = append(errs, fieldError(fmt.Sprintf("app_keys[%d]", i), checkSecret(k))...)
	}
	if len(d.AppKeys) > maxAppKeys {
		errs = append(errs, FieldError{"app_keys", fmt.Sprintf("has %d keys, an app may have %d", len(d.AppKeys), maxAppKeys)})
	}
	for _, s := range table(new(App), d, commands) {
		errs = append(errs, s.check(s.Name)...)
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

// validAdmin returns why an account may not be an admin. What the app has decides where
// the declaration does not say which UserIDs it allows.
func (d *Declaration) validAdmin(account string) error {
	if d.UserIDs != nil && *d.UserIDs == ASCII {
		return ASCII.Check(account)
	}
	return UTF8.Check(account)
}

func validAdmins(admins []string) error {
	if n := len(withBuiltIn(admins)); n > MaxAdmins {
		return fmt.Errorf("has %d names with %s, an app may have %d", n, BuiltInAdmin, MaxAdmins)
	}
	return nil
}

func (d *Declaration) validAttrName(slot, name string) error {
	if !isSlot(slot) {
		return fmt.Errorf("%q is not a slot from 0 to %d", slot, audience.Slots-1)
	}
	if name == "" || len(name) > audience.MaxNameBytes {
		return fmt.Errorf("%q is not an attribute name of 1 to %d bytes", name, audience.MaxNameBytes)
	}
	for i := range audience.Slots {
		if first := slotName(i); first < slot && d.AttrNames[first] == name {
			return fmt.Errorf("%q is already the name of slot %s", name, first)
		}
	}
	return nil
}

func (d *Declaration) validAttrType(slot string, kind int) error {
	if _, ok := d.AttrNames[slot]; !ok {
		return errors.New("has no name in attr_names")
	}
	if kind != int(audience.UserID) && kind != int(audience.RegistrationID) {
		return fmt.Errorf("%d is not an account type: 0 (UserID) or 1 (RegistrationID)", kind)
	}
	return nil
}

func validCommand(commands []string) func(string) error {
	return func(name string) error {
		if !slices.Contains(commands, name) {
			return fmt.Errorf("%q is no command; commands are written like %q", name, "timpush/remove_attr")
		}
		return nil
	}
}

func validLimit(commands []string) func(string, int) error {
	return func(name string, n int) error {
		if name != LimitDefault && name != LimitTotal && !slices.Contains(commands, name) {
			return fmt.Errorf("is no command; commands are written like %q", "timpush/remove_attr")
		}
		if n < 0 || n > MaxLimit {
			return fmt.Errorf("%d is not a number of calls per second from 0 (unlimited) to %d", n, MaxLimit)
		}
		return nil
	}
}

func validHost(name string) error {
	if name == "" || strings.ContainsAny(name, "/:@ ") {
		return fmt.Errorf("%q is not a host name (write it without scheme and port)", name)
	}
	return nil
}

func validWait(wait wording.Span) error {
	if d := time.Duration(wait); d < 0 || d > MaxReimportWait || d%time.Second != 0 {
		return fmt.Errorf("%s is not a time in whole seconds from 0 (none) to %s", wait, wording.Span(MaxReimportWait))
	}
	return nil
}

// shorter returns the check of a text.
func shorter(limit int) func(string) error {
	return func(s string) error {
		if len(s) > limit {
			return fmt.Errorf("is longer than %d bytes", limit)
		}
		return nil
	}
}

// upTo returns the check of a number from 0 to a limit.
func upTo(limit int, what string) func(int) error { return within(0, limit, what) }

// within returns the check of a number from one to another.
func within(least, limit int, what string) func(int) error {
	return func(n int) error {
		if n < least || n > limit {
			return fmt.Errorf("%d is not %s to %d", n, what, limit)
		}
		return nil
	}
}

func slotName(slot int) string { return strconv.Itoa(slot) }

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

// NewSecret returns a secret key from random bytes: 64 lower-case hexadecimal
// digits (spec/conventions.md, 1.7).
func NewSecret(random [32]byte) string { return hex.EncodeToString(random[:]) }

func withBuiltIn(admins []string) []string {
	all := append([]string{BuiltInAdmin}, admins...)
	slices.Sort(all)
	return slices.Compact(all)
}

// apply makes a what d says. d was checked.
func (d *Declaration) apply(a *App) error {
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
	if err := a.declareAppKeys(d.AppKeys); err != nil {
		return err
	}
	for _, s := range table(a, d, nil) {
		if err := s.apply(); err != nil {
			return errorf("%s of app %d: %v", s.Name, a.ID, err)
		}
	}
	return nil
}

func (a *App) declareAdmins(admins []string) error {
	for _, account := range admins {
		if err := a.Settings.UserIDs.Check(account); err != nil {
			return err
		}
	}
	return a.setAdmins(admins)
}

// declareAttributes names the slots that a declaration names.
func (a *App) declareAttributes(d *Declaration) error {
	names, kinds := map[int]string{}, map[int]audience.Kind{}
	for i := range audience.Slots {
		if name, ok := d.AttrNames[slotName(i)]; ok {
			names[i] = name
		}
		if kind, ok := d.AttrTypes[slotName(i)]; ok {
			kinds[i] = audience.Kind(kind)
		}
	}
	if err := a.nameAttributes(names, kinds); err != nil {
		return errors.New(apierr.From(err).Info())
	}
	return nil
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
