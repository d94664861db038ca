package client

import (
	"context"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
)

// MaxReceivers is the most accounts of one [Client.Batch].
const MaxReceivers = 500

// A Push is a message and whom it is for. With neither Where nor Condition it is for
// everyone.
type Push struct {
	From         string        `json:"From_Account,omitempty"` // an account that exists; empty: the Client's identifier
	Where        string        `json:",omitempty"`             // expression, such as plan == "gold" && !tag("muted"); excludes Condition
	Condition    *Condition    `json:",omitempty"`
	Notification *Notification `json:"OfflinePushInfo,omitempty"` // needed if there is no Body
	Body         []Element     `json:"MsgBody,omitempty"`         // a chat message; not for a batch
	DataID       string        `json:"DataId,omitempty"`          // an id of yours, at most 64 bytes, which comes back in callbacks
	LifeTime     *int          `json:",omitempty"`                // seconds that it waits for devices; nil: as the app is set
	// Key names the push, at most 64 bytes: for a day the same push with the same key is
	// the same task. If it is empty the Client makes one, so that a call whose answer was
	// lost can be repeated. Set it if your program may repeat the call itself.
	Key       string          `json:"IdempotencyKey,omitempty"`
	Overrides json.RawMessage `json:",omitempty"`       // of ours: {"Fcm": {...}, "Apns": {...}, "WebPush": {...}}
	PlanID    string          `json:"PlanId,omitempty"` // of a Preview: refuses the push if it is not what was previewed
}

// Push pushes to everyone, or to those whom Where or Condition selects, and returns the id of
// the task. When it returns without an error the task is on disk, and is carried out whatever
// happens to the server.
//
// An app may push once in a second: [ErrPushTooSoon] is waited for and repeated. It may have a
// daily quota ([ErrPushQuota]). [ErrPushDisabled] is an app that cannot push, and
// [ErrPlanChanged] a push that is not what its PlanID previewed.
//
// Limit: one push a second. Command: timpush/push.
func (c *Client) Push(ctx context.Context, p Push) (taskID string, err error) {
	type request struct {
		Push
		Random uint32 `json:"MsgRandom"`
	}
	random := p.key()
	var out struct {
		TaskID string `json:"TaskId"`
	}
	err = c.pushing(ctx, "timpush/push", nil, p, request{p, random}, &out)
	return out.TaskID, err
}

// Batch pushes to at most [MaxReceivers] accounts, UserIDs and RegistrationIDs, and returns
// the id of the task. Where, Condition, Body and PlanID of p have to be empty. Accounts that
// do not exist are reported in [*AccountErrors], together with the id: the others get the
// push.
//
// Limit: 40 calls per second. Command: timpush/batch.
func (c *Client) Batch(ctx context.Context, accounts []string, p Push) (taskID string, err error) {
	type request struct {
		Push
		Accounts []string `json:"To_Account"`
		Random   uint32   `json:"MsgRandom"`
	}
	if p.From == "" {
		p.From = c.identifier
	}
	random := p.key()
	var out struct {
		TaskID string `json:"TaskId"`
	}
	err = c.pushing(ctx, "timpush/batch", accounts, p, request{p, accounts, random}, &out)
	return out.TaskID, err
}

// A Preview is what a push would come to.
type Preview struct {
	PlanID   string         `json:"PlanId"` // for Push.PlanID
	PlanEnds Time           // ten minutes later
	Accounts uint64         // in the audience
	Devices  uint64         // it would be sent to
	NoDevice uint64         // accounts without a device
	Nothing  string         `json:",omitempty"` // why nothing would be sent
	Groups   []Group        // of the devices, the largest first
	LeftOut  []LeftOut      // devices it would not be sent to
	More     int            `json:",omitempty"` // groups that are not shown
	Quota    PushQuota      // what the app may still push
	First    Time           // when the first message would be sent
	Last     Time           // when the last one would be, if nothing else is sent; zero: not known
	Pace     int            // messages a second at most; 0: as fast as providers take them
	Failures []AccountError `json:"ErrorList,omitempty"` // accounts that cannot get it
}

// A Group is devices that are reached alike.
type Group struct {
	Provider    string
	Certificate int
	Kind        string // of token
	Language    string
	Platform    string
	Devices     uint64
	Sample      string   `json:",omitempty"` // RegistrationID of one of them
	Payload     *Payload `json:",omitempty"` // what that device would get
	Problem     string   `json:",omitempty"` // why its message cannot be made
}

// A Payload is what a provider would get for one device.
type Payload struct {
	Body    json.RawMessage
	Bytes   int // that count at the limit of the provider
	Limit   int
	Cuts    []string          `json:",omitempty"` // fields that were cut
	Headers map[string]string `json:",omitempty"`
}

// LeftOut is devices that a push does not reach.
type LeftOut struct {
	Reason   string // no certificate, no token, permission off
	Why      string
	Language string
	Platform string
	Devices  uint64
	Sample   string `json:",omitempty"`
}

// PushQuota is what an app may still push.
type PushQuota struct {
	Next    Time // when it may push next; zero: now
	Left    int  // pushes today; -1: any number
	Anew    Time // when that starts anew
	Pending int  // tasks that have not ended
	Limit   int  // of them
}

// Preview returns what a push would come to, without sending, changing or using up
// anything. With accounts it is that of a batch. A newer preview of the same caller ends an
// older one with [ErrPreviewReplaced].
//
// Command: tidings/preview_push, which only Tidings has.
func (c *Client) Preview(ctx context.Context, p Push, accounts ...string) (*Preview, error) {
	type request struct {
		Push
		Accounts []string `json:"To_Account,omitempty"`
	}
	p.Key = ""
	out := new(Preview)
	err := c.pushing(ctx, "tidings/preview_push", accounts, p, request{p, accounts}, out)
	if len(out.Failures) > 0 && out.PlanID != "" {
		err = nil // they are in the preview
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// key gives a push a key if it has none, and returns the MsgRandom of the key: what the server
// compares by the key is the whole request.
func (p *Push) key() (random uint32) {
	if p.Key == "" {
		b := make([]byte, 16)
		_, _ = cryptorand.Read(b) // it never fails
		p.Key = hex.EncodeToString(b)
	}
	sum := sha256.Sum256([]byte(p.Key))
	return binary.BigEndian.Uint32(sum[:])
}

// pushing is [Client.Call] for a push. It may be repeated, since the push has a key.
func (c *Client) pushing(ctx context.Context, command string, accounts []string, p Push, in, out any) error {
	texts := append([]string{p.From, p.Where, p.DataID, p.Key, p.PlanID}, accounts...)
	if n := p.Notification; n != nil {
		texts = append(texts, n.Title, n.Desc, n.Ext)
		for _, t := range n.Translations {
			texts = append(texts, t.Language, t.Title, t.Desc)
		}
	}
	if err := checkText(command, append(texts, p.Condition.texts()...)...); err != nil {
		return err
	}
	return c.call(ctx, command, true, in, out)
}
