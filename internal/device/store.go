package device

import (
	"context"
	"errors"
	"iter"
	"time"

	"tidings/internal/audience"
	"tidings/internal/channel"
)

// The errors of a Store that are no outage.
var (
	ErrUnknown   = errors.New("no such device")
	ErrForbidden = errors.New("the caller may not change this device")
	ErrFull      = errors.New("the app has as many devices as it may have")
	ErrTaken     = errors.New("the RegistrationID is a UserID") // and so can be none
)

// A Proof is why a caller may change a device: an operator or an admin of the app, or
// whoever knows its secret, or the user that it is bound to, who has shown a ticket.
type Proof struct {
	Admin  bool
	Secret string
	User   string
}

// A Registered is what became of a registration.
type Registered struct {
	Device  Device
	Created bool
	Changed bool   // something was written
	Secret  string // of a device that was created; shown once, kept hashed
}

// A Retired is a token that is not used any more.
type Retired struct {
	Device string
	Token  Token
	Reason string // the provider's words, or why
	Task   string // the TaskId of the push that found it dead; empty: none
	At     time.Time
}

// A Store keeps the devices of apps. Like audience.Store it returns when everything that
// it changed or returns is durable, and honours audience.WithAuthority.
type Store interface {
	// Register makes a device, or brings one up to date: d has what the installation says of
	// itself, without Version, User, Registered. A device that exists is changed only with
	// a Proof, else it is ErrForbidden; one that cannot be is ErrInvalid. Its tokens
	// become those of d; one that turns up under another device moves. Its badge stays.
	// An unchanged refresh within a day writes nothing. An empty ID makes one. A new
	// device is an account of kind RegistrationID; such an account that is no device yet
	// becomes one. A Proof with a Secret or a User makes none: then a device that does not
	// exist is ErrUnknown.
	Register(ctx context.Context, app uint32, p Proof, d Device) (Registered, error)
	// Prove returns nil if a caller may change a device, else ErrForbidden or ErrUnknown.
	Prove(ctx context.Context, app uint32, p Proof, id string) error
	// Device returns a device.
	Device(ctx context.Context, app uint32, id string) (*Device, error)
	// Of returns the devices of an account: of a UserID those bound to it, of a RegistrationID
	// itself. An account that does not exist is 70107.
	Of(ctx context.Context, app uint32, account string) ([]Device, error)
	// List returns a page of the devices of an app, in the order in which they were made.
	List(ctx context.Context, app uint32, limit int, after string) (devices []Device, next string, err error)
	// Count returns how many devices an app has.
	Count(ctx context.Context, app uint32) (int, error)
	// CertificateUse returns how many devices have a token of a certificate.
	CertificateUse(ctx context.Context, app uint32, certificate int) (int, error)

	// Bind gives a device to a user, and takes it from whoever had it. A user with too many
	// devices loses the one idle longest. With create an unknown user is made.
	Bind(ctx context.Context, app uint32, p Proof, id, user string, create bool) error
	// Unbind takes a device from its user.
	Unbind(ctx context.Context, app uint32, p Proof, id string) error
	// SetBadge sets the number that the device shows.
	SetBadge(ctx context.Context, app uint32, p Proof, id string, badge int) error
	// Remove removes a device and its account.
	Remove(ctx context.Context, app uint32, p Proof, id string) error

	// Retired returns tokens that were retired, the latest first: of a device, or of a task,
	// or all.
	Retired(ctx context.Context, app uint32, device, task string, limit int) ([]Retired, error)
	// Restore gives retired tokens back to their devices, those of a device or of a whole
	// run, where no newer token has the place. It returns how many.
	Restore(ctx context.Context, app uint32, device, task string) (int, error)

	// Import makes devices as files have them, or brings them up to date, in order, each whole
	// or not at all. The user of a device is made before, if need be. A device that exists
	// keeps its secret and its badge. It calls done with the outcome of each, or why it is
	// not in; a dry run changes nothing and tells what would be.
	Import(ctx context.Context, app uint32, batches iter.Seq[[]*Moved], dryRun bool, done func(i int, o audience.Outcome, err error)) error
	// Export calls each with the devices of an app, all as they are at one moment.
	Export(ctx context.Context, app uint32, each func(*Moved) error) error

	// Sweep retires the tokens of devices of all apps that were not seen for IdleDays, those of
	// Web Push after fewer, and drops what is kept for RetiredDays. It works in pieces
	// and is called once a day or so.
	Sweep(ctx context.Context, now time.Time) error
}

// A Reason is why a device cannot be sent to.
type Reason string

// The reasons.
const (
	Sendable      Reason = ""
	NoCertificate Reason = "no certificate"
	NoToken       Reason = "no token"
	PermissionOff Reason = "permission off"
)

// A Choice says which of its ways a device is reached by.
type Choice struct {
	Certificate int
	Provider    channel.Provider
	Kind        channel.TokenKind
	Reason      Reason // if not Sendable, the rest is zero
}
