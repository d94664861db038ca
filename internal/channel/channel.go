// Package channel is what all ways to reach a device have in common: the Message that
// is to arrive, the Target that it is for, the Sender that hands it to a provider, and
// the Result of that. It knows neither tasks nor storage; the providers are packages
// below it.
package channel

import (
	"context"
	"log/slog"
	"time"
)

// A Provider is whoever delivers to devices of a kind.
type Provider string

// The providers. Their numbers are in Number.
const (
	APNs    Provider = "apns"
	FCM     Provider = "fcm"
	WebPush Provider = "webpush"
	Huawei  Provider = "huawei"
	Harmony Provider = "harmony"
	Honor   Provider = "honor"
	Xiaomi  Provider = "xiaomi"
	OPPO    Provider = "oppo"
	Vivo    Provider = "vivo"
	Meizu   Provider = "meizu"
)

// numbers are those of PushPlatform on the wire (spec/timpush-api.md, 12.1). What has
// none there is 0 (spec/channels.md, C-9).
var numbers = map[Provider]int{APNs: 1, Xiaomi: 2, Huawei: 3, FCM: 4, Meizu: 5, OPPO: 6, Vivo: 7, Honor: 8}

// Number returns the provider's PushPlatform on the wire; 0 if it has none.
func (p Provider) Number() int { return numbers[p] }

// A TokenKind says what a token is good for.
type TokenKind string

// The kinds of tokens.
const (
	Alert             TokenKind = "alert" // the usual one
	FID               TokenKind = "fid"   // a Firebase installation id, which FCM takes like a token
	VoIP              TokenKind = "voip"
	LiveActivity      TokenKind = "liveactivity"
	LiveActivityStart TokenKind = "liveactivity-start"
	Subscription      TokenKind = "webpush"
)

// An Address is the token of a device with its provider. It prints as its last six
// characters, so that no log line and no error can show it whole.
type Address string

// String returns the last six characters.
func (a Address) String() string { return a.Last6() }

// GoString hides the address from %#v.
func (a Address) GoString() string { return a.Last6() }

// LogValue hides the address from logs.
func (a Address) LogValue() slog.Value { return slog.StringValue(a.Last6()) }

// Last6 returns the last six characters after an ellipsis. Of an address of less than
// twelve it returns the ellipsis alone.
func (a Address) Last6() string {
	if len(a) < 12 {
		return "…"
	}
	return "…" + string(a[len(a)-6:])
}

// A Job is what is the same for all devices that one page of a task is sent to.
type Job struct {
	Message *Message
	// Replace is the key by which a later message replaces this one where the provider
	// can do that; empty: nothing replaces it. At most 24 characters of base64url
	// (spec/channels.md, 2.6).
	Replace string
	// Expires is when the provider should give up. At once if that is not after the
	// moment of sending.
	Expires time.Time
	// ValidateOnly asks the provider to check and not to deliver, where it can do that.
	ValidateOnly bool
}

// A Target is one device.
type Target struct {
	Kind     TokenKind
	Address  Address
	Language string // of the device, BCP 47; empty: not known
	ReportID string // by which the device reports arrival and click; at most 40 bytes
	SendID   string // the same whenever this message is sent to this device again: a UUID
	Badge    int    // that the device is to show; -1: leave it as it is
}

// An Outcome is what became of a Target.
type Outcome uint8

// The outcomes (spec/channels.md, 2.1).
const (
	Accepted     Outcome = iota + 1 // the provider took it
	Gone                            // the provider says that the token is dead
	Rejected                        // this message can never pass
	Throttled                       // too much: later
	Retry                           // a passing failure: later
	Unauthorized                    // credentials or the project are wrong: stop, and keep everything
	Unknown                         // the connection broke after the request was written: it may have arrived
)

var outcomes = [...]string{"", "accepted", "gone", "rejected", "throttled", "retry", "unauthorized", "unknown"}

// String returns the word for an outcome.
func (o Outcome) String() string { return outcomes[o] }

// A Result is the answer of a provider about one Target.
type Result struct {
	Outcome Outcome
	// Status is that of HTTP; 0: there was no answer. Code is the provider's own word or number
	// for it, such as "UNREGISTERED"; Words is the sentence it said, at most MaxWords
	// bytes. None of them ever holds a token or a credential.
	Status int
	Code   string
	Words  string
	// After is how long to wait before the next try; 0: as the Limits of the Driver say.
	After time.Duration
	// Lane says that a Throttled, a Retry or an Unauthorized is about all that is sent with
	// these credentials, and cannot be about this token alone.
	Lane bool
	// Since is the moment about which a Gone speaks: a token that was registered later is
	// not meant. Zero: the moment of sending.
	Since time.Time
	// Replaces says of an Unknown that sending again is harmless, because the provider
	// replaces silently what arrived.
	Replaces bool
	// Took is how long the provider took to answer.
	Took time.Duration
}

// MaxWords bounds the words of a provider that are kept, in bytes.
const MaxWords = 256

// Limits are what a provider can take.
type Limits struct {
	Rate     int           // messages a second when all is well; 0: no limit of its own
	Ramp     time.Duration // from nothing to Rate
	MinRetry time.Duration // the same message is sent again no sooner
	MaxRetry time.Duration // what the waits between tries grow to
	InFlight int           // messages that are worked on at once
}

// A Sender hands messages to a provider with one set of credentials. It is safe for
// concurrent use.
type Sender interface {
	// Send sends a job to targets and calls done once for each, with its place and its
	// result, from any goroutine and in any order. It returns after the last of them. It
	// sends no faster than its Pace allows. If ctx ends, what was not sent is a Retry with
	// Status 0 and the Code CodeStopped, and what was sent gets the answer that still comes
	// within the time that a request may take.
	Send(ctx context.Context, job *Job, targets []Target, done func(i int, r Result))
	// Payload returns what Send would send to a target.
	Payload(job *Job, target *Target) (Payload, error)
	// Test asks the provider whether the credentials are good, and disturbs nobody.
	Test(ctx context.Context) (Health, error)
	// Clock returns by how much the clock of the provider is ahead of ours, from its last
	// answer; 0 if it has not said.
	Clock() time.Duration
	// Close ends the connections. Nothing is sent after it.
	Close() error
}

// The Codes of Results that are ours and not a provider's, which writes none in lower case. All
// but CodeNoName come with Status 0.
const (
	CodeStopped     = "stopped"         // it was not sent, because the Sender was told to stop
	CodeUnreachable = "unreachable"     // there was no connection
	CodeRefused     = "not_processed"   // the provider closed the request and said that it did nothing
	CodeTimeout     = "timeout"         // no answer came in time
	CodeLost        = "connection_lost" // the connection broke after the request was written
	CodeNoName      = "no_name"         // somebody answered that all is well, who is not the provider
	CodeTokenKind   = "token_kind"      // the provider takes no tokens of this kind
	CodeToken       = "token"           // the token has no form of one
	CodePayload     = "payload"         // the message has no form that the provider takes
	CodeTooLarge    = "too_large"       // the payload is above the provider's limit
)

// A Payload is what a provider gets for one device.
type Payload struct {
	Body   []byte   // as it is sent, with the address replaced by its last six characters
	Bytes  int      // what counts at the limit of the provider
	Limit  int      // the most that may count
	Cuts   []string // fields that were cut, such as "Title"
	Header map[string]string
}

// A Health is the answer to a Test.
type Health struct {
	OK      bool          `json:"ok"`
	Words   string        `json:"words"` // of the provider
	Took    time.Duration `json:"took"`
	PerConn int           `json:"per_connection,omitempty"` // requests at once that the provider allows on a connection
	Rate    int           `json:"rate,omitempty"`           // messages a second that Took and PerConn allow
}
