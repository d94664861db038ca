// Package app holds the apps: their keys, admins, attribute slots and settings.
// There are few of them, every request needs one, and they change rarely, so
// they live in memory and are written through to a Store.
package app

import (
	"cmp"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// BuiltInAdmin is the admin every app has and cannot lose
// (spec/conventions.md, 4).
const BuiltInAdmin = "administrator"

// MaxAdmins is the most admins an app may have, the built-in one included
// (spec/conventions.md, 4).
const MaxAdmins = 10

// Status says whether an app answers requests.
type Status string

// The statuses. A disabled app is answered 60016, a suspended one 60020.
const (
	Enabled   Status = "enabled"
	Disabled  Status = "disabled"  // by the operator; only such an app can be deleted
	Suspended Status = "suspended" // quota used up or in arrears
)

// An App is one application and everything the checks before a command need to
// know of it. An App in use is never changed: a change makes a new one.
type App struct {
	ID          uint32              `json:"sdkappid"`
	Name        string              `json:"name"`
	Description string              `json:"description,omitempty"`
	Status      Status              `json:"status"`
	Created     time.Time           `json:"created"`
	Keys        []Key               `json:"keys"`
	NextKey     int                 `json:"next_key"` // the highest Key.ID ever given
	Admins      []string            `json:"admins"`   // sorted, BuiltInAdmin among them
	Attributes  audience.Attributes `json:"attributes"`
	Settings    Settings            `json:"settings"`

	Certificates    []Certificate `json:"certificates,omitempty"`     // by ID
	NextCertificate int           `json:"next_certificate,omitempty"` // the highest Certificate.ID ever given
	AppKeys         []AppKey      `json:"app_keys,omitempty"`
	NextAppKey      int           `json:"next_app_key,omitempty"` // the highest AppKey.ID ever given

	// Epoch is another number after every change of the app and every kick: a
	// ticket that was verified under an older one may no longer be good. It
	// lives as long as the process.
	Epoch uint64 `json:"-"`
}

// A Key signs and verifies UserSig tickets. Tickets are verified with every
// key; new ones are made with the primary.
type Key struct {
	ID      int       `json:"id"` // counts from 1 in the app, never reused
	Secret  Secret    `json:"secret"`
	Primary bool      `json:"primary"`
	Created time.Time `json:"created"`
	Ends    time.Time `json:"ends,omitzero"` // when a retiring key stops; zero: never
}

// A Secret is the text of a key. It prints as stars, so that no log line and
// no error can show it by accident.
type Secret string

// String hides the secret.
func (Secret) String() string { return "******" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "******" }

// LogValue hides the secret from logs.
func (Secret) LogValue() slog.Value { return slog.StringValue("******") }

// Good reports whether the key is accepted at time now.
func (k Key) Good(now time.Time) bool { return k.Ends.IsZero() || now.Before(k.Ends) }

// Settings are what an operator may choose for an app. The zero value is the
// default.
type Settings struct {
	CreateAccounts   bool           `json:"create_accounts"`             // set_attr makes unknown accounts
	MaxAccounts      int            `json:"max_accounts,omitempty"`      // accounts the app may have; 0: no limit
	UserIDs          UserIDs        `json:"user_ids,omitempty"`          // characters a UserID may have
	KeepAccounts     bool           `json:"keep_accounts"`               // account_delete is refused with 71000
	ReimportWait     time.Duration  `json:"reimport_wait,omitempty"`     // from deletion until an account can be made again; in JSON nanoseconds
	Limits           Limits         `json:"limits,omitempty"`            // calls per second
	MaxTags          *int           `json:"max_tags,omitempty"`          // different tags; nil: audience.DefaultAppTags, 0: no limit
	Hosts            []string       `json:"hosts,omitempty"`             // if any: other Hosts are refused with 60026
	Addresses        []netip.Prefix `json:"addresses,omitempty"`         // if any: other sources are refused with 60021
	BlockedAccounts  []string       `json:"blocked_accounts,omitempty"`  // callers refused with 70051
	DisabledCommands []string       `json:"disabled_commands,omitempty"` // "timpush/set_attr": refused with 60017
	Push             Push           `json:"push,omitzero"`
	Devices          Devices        `json:"devices,omitzero"`
}

// AppTags is how many different tags the app may have; 0 is no limit
// (spec/timpush-api.md, 5).
func (s *Settings) AppTags() int {
	if s.MaxTags == nil {
		return audience.DefaultAppTags
	}
	return *s.MaxTags
}

// Rules returns the rules about making accounts.
func (s *Settings) Rules() audience.Rules {
	return audience.Rules{MaxAccounts: s.MaxAccounts, ReimportWait: s.ReimportWait}
}

// Limits are calls per second by command ("timpush/remove_attr"). LimitDefault
// stands for every command not named, LimitTotal for all commands of the app
// together (60011). 0 is unlimited; a command in no entry has the contract's
// limit.
type Limits map[string]int

// The keys of Limits that are no commands.
const (
	LimitDefault = "default"
	LimitTotal   = "total"
)

// UserIDs says which characters a UserID may have (spec/conventions.md, 2.9).
type UserIDs string

// The choices for UserIDs. The empty one is ASCII.
const (
	ASCII UserIDs = "ascii" // printable ASCII, spaces only inside
	UTF8  UserIDs = "utf8"  // any UTF-8 without control characters
)

// IsAdmin reports whether an account may call commands.
func (a *App) IsAdmin(account string) bool {
	_, found := slices.BinarySearch(a.Admins, account)
	return found
}

// GoodKeys returns the keys accepted at time now, the primary first.
func (a *App) GoodKeys(now time.Time) []Key {
	keys := slices.DeleteFunc(slices.Clone(a.Keys), func(k Key) bool { return !k.Good(now) })
	slices.SortStableFunc(keys, func(x, y Key) int {
		switch {
		case x.Primary == y.Primary:
			return cmp.Compare(y.ID, x.ID)
		case x.Primary:
			return -1
		}
		return 1
	})
	return keys
}

func (a *App) clone() *App {
	c := *a
	c.Keys = slices.Clone(a.Keys)
	c.Admins = slices.Clone(a.Admins)
	c.Certificates = slices.Clone(a.Certificates)
	c.AppKeys = slices.Clone(a.AppKeys)
	return &c // lists of Settings are only ever replaced
}

// equal reports whether two states of an app are the same.
func (a *App) equal(b *App) bool {
	return slices.Equal(a.Keys, b.Keys) && slices.Equal(a.AppKeys, b.AppKeys) &&
		reflect.DeepEqual(a.Certificates, b.Certificates) && reflect.DeepEqual(a.Declaration(), b.Declaration())
}

// maxKeys bounds the work of verifying a ticket, which tries every key.
const maxKeys = 20

func (a *App) key(id int) *Key {
	for i := range a.Keys {
		if a.Keys[i].ID == id {
			return &a.Keys[i]
		}
	}
	return nil
}

func (a *App) addKey(secret Secret, primary bool) Key {
	k := Key{ID: a.NextKey + 1, Secret: secret, Primary: primary, Created: now()}
	a.NextKey++
	if primary {
		for i := range a.Keys {
			a.Keys[i].Primary = false
		}
	}
	a.Keys = append(a.Keys, k)
	return k
}

func (a *App) setAdmins(admins []string) error {
	admins = withBuiltIn(admins)
	if len(admins) > MaxAdmins {
		return errorf("app %d would have %d admins, it may have %d", a.ID, len(admins), MaxAdmins)
	}
	a.Admins = admins
	return nil
}

func (a *App) nameAttributes(names map[int]string, kinds map[int]audience.Kind) error {
	attrs := a.Attributes
	for slot, name := range names {
		old, changed := attrs[slot], audience.Attribute{Name: name, Kind: kinds[slot]}
		if _, given := kinds[slot]; !given && old.Name != "" {
			changed.Kind = old.Kind
		}
		if old.Name != "" && old.Kind != changed.Kind {
			return apierr.InvalidAttribute.Errorf("attrName:%s at index:%d is for account type %d, which cannot be changed to %d", old.Name, slot, old.Kind, changed.Kind)
		}
		attrs[slot] = changed
	}
	for slot := range attrs {
		if first := attrs.Index(attrs[slot].Name); first >= 0 && first != slot {
			if _, asked := names[slot]; !asked {
				first, slot = slot, first
			}
			return apierr.InvalidAttribute.Errorf("attrName:%s already exists at index:%d", attrs[slot].Name, first)
		}
	}
	a.Attributes = attrs
	return nil
}
