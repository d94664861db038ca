package channel

import "time"

// A Credential is what a provider knows us by, with the options that an operator chose
// for it. It prints without its secret.
type Credential struct {
	App         uint32
	Certificate int // its number in the app
	Options     Options
	Secret      Secret
	// Proven says that the provider took a message from this credential before. Then what it
	// says of a token is about that token, and not about the credential.
	Proven bool
}

// A Secret is the content of a credential: the JSON file of a service account, a key. It
// prints as stars.
type Secret []byte

// String hides the secret.
func (Secret) String() string { return "******" }

// GoString hides the secret from %#v.
func (Secret) GoString() string { return "******" }

// Options are the options of a certificate (spec/conventions.md, 7). A field of a push
// that is not empty wins.
type Options struct {
	Package     string      `json:"package,omitempty"`     // package or bundle of the app
	Environment Environment `json:"environment,omitempty"` // of APNs
	Click       Click       `json:"click,omitzero"`        // what a tap opens
	Data        bool        `json:"data,omitempty"`        // FCM: data messages, which the app shows itself
	ChannelID   string      `json:"channel_id,omitempty"`  // Android channel of pushes that name none
}

// An Environment is which of a provider's two systems a token belongs to.
type Environment string

// The environments.
const (
	Production Environment = "production"
	Sandbox    Environment = "sandbox"
)

// A Click says what a tap on a notification opens: the app, a web page, or a page in the
// app.
type Click struct {
	Action string `json:"action,omitempty"` // app (or empty), url, page
	Target string `json:"target,omitempty"` // the URL, or the provider's name of the page
}

// Facts are what a credential says about itself and everybody may see.
type Facts struct {
	Hint string    `json:"hint"`          // "project chat-prod, key 3f0c…"
	Ends time.Time `json:"ends,omitzero"` // when it stops to work; zero: never
}

// A Driver is a kind of provider: what checks its credentials and opens Senders.
type Driver interface {
	// Check returns why a credential cannot work, as far as that can be told without the
	// provider, with the name of what is wrong in it and never its value.
	Check(secret Secret, o Options) (Facts, error)
	// Limits returns what a Sender with these options can take.
	Limits(o Options) Limits
	// Open returns a Sender that keeps to a Pace; nil: to one of its Limits. It makes no
	// connection.
	Open(c Credential, p *Pace) (Sender, error)
	// Kinds returns the kinds of tokens that it takes.
	Kinds() []TokenKind
}

// Drivers are the providers that this program can reach.
type Drivers map[Provider]Driver
