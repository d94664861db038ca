package fcm

import (
	"bytes"
	"encoding/json"
	"time"

	"tidings/internal/channel"
)

// A request is what FCM gets (spec/channels.md, 5). Fields that differ between devices are
// holes while a template is made.
type request struct {
	ValidateOnly bool            `json:"validate_only,omitempty"`
	Message      json.RawMessage `json:"message"`
}

type message struct {
	Token        string            `json:"token,omitempty"`
	FID          string            `json:"fid,omitempty"`
	Notification *notification     `json:"notification,omitempty"`
	Data         map[string]string `json:"data,omitempty"`
	Android      android           `json:"android"`
}

type notification struct {
	Title string `json:"title,omitempty"`
	Body  string `json:"body,omitempty"`
}

type android struct {
	Priority     string               `json:"priority,omitempty"`
	TTL          string               `json:"ttl"`
	CollapseKey  string               `json:"collapse_key,omitempty"`
	Package      string               `json:"restricted_package_name,omitempty"`
	Notification *androidNotification `json:"notification,omitempty"`
}

type androidNotification struct {
	ChannelID   string `json:"channel_id,omitempty"`
	Tag         string `json:"tag,omitempty"`
	Sound       string `json:"sound,omitempty"`
	Image       string `json:"image,omitempty"`
	ClickAction string `json:"click_action,omitempty"`
	Count       string `json:"notification_count,omitempty"` // a hole
}

// The members of data that are ours. "body", "title" and "ext" are the contract's.
const (
	dataReport = "tidings" // by which the device reports arrival and click
	dataURL    = "url"     // the web page to open
)

// maxTTL is the longest that FCM keeps a message, in seconds: four weeks.
const maxTTL = 2419200

// build returns the message for devices of a kind with a text, with holes for what differs
// between them, and whether it is a notification that replaces silently an earlier copy
// of itself.
//
// The system shows a notification by itself, so there is one only if there is something to
// show. A data message has all that a notification would have as members of data, for the
// app to show. A data message has no collapse key: FCM thins out those that have one.
func build(job *channel.Job, o channel.Options, kind channel.TokenKind, title, desc string, badge bool, h holes) (m message, replaces bool) {
	from := &job.Message.Android
	set(&m.Token, h.token)
	if kind == channel.FID {
		m.Token, m.FID = "", h.token
	}
	m.Data = map[string]string{dataReport: h.report}
	put := func(name, value string) {
		if value != "" {
			m.Data[name] = value
		}
	}
	put("ext", job.Message.Ext)
	if o.Click.Action == channel.ClickURL {
		put(dataURL, o.Click.Target)
	}
	m.Android = android{Priority: from.GooglePriority, TTL: h.ttl, Package: o.Package}
	channelID := from.GoogleChannelID
	set(&channelID, o.ChannelID)
	page := ""
	if o.Click.Action == channel.ClickPage {
		page = o.Click.Target
	}
	shown := title != "" || desc != ""

	if o.Data {
		put("title", title)
		put("body", desc)
		put("image", from.GoogleImage)
		put("channel_id", channelID)
		put("sound", from.Sound)
		put("click_action", page)
		if shown {
			put("tag", job.Replace)
			set(&m.Android.Priority, "high") // else it is shown when the phone wakes up
		}
		if badge {
			put("badge", h.badgeText)
		}
		return m, false
	}
	if !shown {
		return m, false
	}
	m.Notification = &notification{Title: title, Body: desc}
	m.Android.CollapseKey = job.Replace
	m.Android.Notification = &androidNotification{
		ChannelID:   channelID,
		Tag:         job.Replace,
		Sound:       from.Sound,
		Image:       from.GoogleImage,
		ClickAction: page,
	}
	if badge {
		m.Android.Notification.Count = h.badge
	}
	return m, job.Replace != ""
}

// set gives a field that is empty a value.
func set(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// ttl returns the seconds that FCM should keep a message: 0 is now or never.
func ttl(expires, now time.Time) int {
	return int(min(max(expires.Sub(now)/time.Second, 0), maxTTL))
}

// encode returns v in JSON, with < and & as they are, since bytes count.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
