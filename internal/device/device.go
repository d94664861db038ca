// Package device holds installations of an app, which are accounts of kind
// RegistrationID: what each is, the tokens by which providers reach it, and the user it
// belongs to. It does no I/O; a [Store] keeps devices.
package device

import (
	"time"

	"tidings/internal/channel"
)

// Limits of a device. Those that an app may choose are in app.Settings.
const (
	MinIDBytes  = 16 // of a RegistrationID, which is of A-Z a-z 0-9 _ -
	MaxIDBytes  = 64
	MaxTokens   = 8    // tokens of a device
	MaxAddress  = 4096 // bytes of a token
	MaxText     = 64   // bytes of model, system, versions
	MaxBadge    = 9999
	IdleDays    = 270 // a device that was not seen for so many days is retired
	RetiredDays = 30  // for so long a retired token is kept and can be restored
)

// A Device is one installation.
type Device struct {
	ID      string `json:"id"`             // the RegistrationID
	Version uint32 `json:"version"`        // counts from 1, and grows with every change but a refresh
	User    string `json:"user,omitempty"` // UserID it is bound to; empty: none

	Platform      string     `json:"platform,omitempty"` // android, ios, harmony, web
	Model         string     `json:"model,omitempty"`
	System        string     `json:"system,omitempty"`
	SystemVersion string     `json:"system_version,omitempty"`
	SDKVersion    string     `json:"sdk_version,omitempty"`
	PushVersion   string     `json:"push_version,omitempty"` // of the push plug-in
	AppVersion    string     `json:"app_version,omitempty"`
	Language      string     `json:"language,omitempty"` // BCP 47, in canonical form
	TimeZone      string     `json:"time_zone,omitempty"`
	Permission    Permission `json:"permission,omitempty"`
	Test          bool       `json:"test,omitempty"`
	Badge         int        `json:"badge,omitempty"`

	Registered time.Time `json:"registered"` // whole seconds
	LastActive time.Time `json:"last_active"`
	Tokens     []Token   `json:"tokens,omitempty"`
}

// A Permission says whether the person permits notifications.
type Permission string

// The permissions. Only the second keeps a push from being sent.
const (
	PermissionUnknown Permission = ""
	Denied            Permission = "denied"
	Allowed           Permission = "allowed"
)

// A Token is one way to reach a device. Its place is certificate, kind and LaID: only there
// a new one replaces it. It prints masked.
type Token struct {
	Certificate int                 `json:"certificate"`
	Kind        channel.TokenKind   `json:"kind"`
	LaID        string              `json:"la_id,omitempty"`
	Address     channel.Address     `json:"address"`
	Environment channel.Environment `json:"environment,omitempty"`
	Topic       string              `json:"topic,omitempty"`
	Expires     time.Time           `json:"expires,omitzero"`
	Registered  time.Time           `json:"registered"`
	Refreshed   time.Time           `json:"refreshed"`
}

// A Facet is what preview, lanes and counts ask about a device. Few are different, so an index
// keeps each once.
type Facet struct {
	Platform   string
	Language   string
	Permission Permission
	Test       bool
	Ways       []Way // by which a push can reach the device, in the order of its tokens
}

// A Way is a token without its address.
type Way struct {
	Certificate int
	Kind        channel.TokenKind
}
