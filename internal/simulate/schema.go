package simulate

import (
	"regexp"
	"strings"
	"time"
)

// A kind is the type of a field, as the JSON of protocol buffers has it.
type kind uint8

const (
	aString kind = iota
	aBool
	anInt
	aFloat
	anEnum
	aDuration
	aTimestamp
	aStruct   // any object
	aMap      // of strings
	strs      // a list of strings
	durations // a list of durations
	aMessage
)

// wants is how Google names what it wants of a kind.
var wants = [...]string{
	aString: "TYPE_STRING", aBool: "TYPE_BOOL", anInt: "TYPE_INT32", aFloat: "TYPE_FLOAT",
	aDuration: "type.googleapis.com/google.protobuf.Duration", aTimestamp: "type.googleapis.com/google.protobuf.Timestamp",
	aStruct: "type.googleapis.com/google.protobuf.Struct", aMap: "TYPE_MESSAGE", strs: "TYPE_STRING",
	durations: "type.googleapis.com/google.protobuf.Duration", aMessage: "TYPE_MESSAGE",
}

// A field is one of a message.
type field struct {
	name   string
	kind   kind
	of     *message                  // of a message
	enum   string                    // the type of an enum
	values []string                  // of an enum, by number
	text   int                       // where its text is kept; 0: nowhere
	part   int                       // of the payload, to whose size it counts; 0: to none
	check  func(value string) string // returns what FCM says about a wrong one
	bit    uint64
}

// A message is what an object may hold.
type message struct {
	name   string
	fields map[string]*field // by name, in both spellings
}

// The texts that are kept of a message.
const (
	textID = iota + 1
	textToken
	textFID
	textTopic
	textCondition
	textTitle
	textBody
	textAndroidTitle
	textAndroidBody
	textChannel
	textDataTitle
	textDataBody
	texts
)

// The parts of the payload (spec/channels.md, 5: 4096 bytes, of topics 2048).
const (
	partNotification = iota + 1
	partData
	partAndroidData // is sent in place of partData
	parts
)

func object(name string, fields ...field) *message {
	m := &message{name, map[string]*field{}}
	for i := range fields {
		f := &fields[i]
		f.bit = 1 << i
		m.fields[f.name] = f
		m.fields[camel(f.name)] = f
	}
	return m
}

// camel returns the other spelling of a name, which protocol buffers take too.
func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

func as(k kind, names ...string) []field {
	fields := make([]field, len(names))
	for i, n := range names {
		fields[i] = field{name: n, kind: k}
	}
	return fields
}

func join(lists ...[]field) (all []field) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

const fcmV1 = "type.googleapis.com/google.firebase.fcm.v1."

var (
	options = object("FcmOptions", field{name: "analytics_label", check: analyticsLabel})

	androidNotification = object("AndroidNotification", join(
		[]field{{name: "title", text: textAndroidTitle}, {name: "body", text: textAndroidBody}, {name: "channel_id", text: textChannel}, {name: "color", check: color}},
		as(aString, "icon", "sound", "tag", "click_action", "body_loc_key", "title_loc_key", "ticker", "image"),
		as(strs, "body_loc_args", "title_loc_args"),
		as(aBool, "sticky", "local_only", "default_sound", "default_vibrate_timings", "default_light_settings", "bypass_proxy_notification"),
		as(anInt, "notification_count"),
		as(aTimestamp, "event_time"),
		as(durations, "vibrate_timings"),
		[]field{
			{name: "notification_priority", kind: anEnum, enum: "AndroidNotification.NotificationPriority", values: strings.Fields("PRIORITY_UNSPECIFIED PRIORITY_MIN PRIORITY_LOW PRIORITY_DEFAULT PRIORITY_HIGH PRIORITY_MAX")},
			{name: "visibility", kind: anEnum, enum: "AndroidNotification.Visibility", values: strings.Fields("VISIBILITY_UNSPECIFIED PRIVATE PUBLIC SECRET")},
			{name: "proxy", kind: anEnum, enum: "AndroidNotification.Proxy", values: strings.Fields("PROXY_UNSPECIFIED ALLOW DENY IF_PRIORITY_LOWERED")},
			{name: "light_settings", kind: aMessage, of: object("LightSettings", join(
				[]field{{name: "color", kind: aMessage, of: object("Color", as(aFloat, "red", "green", "blue", "alpha")...)}},
				as(aDuration, "light_on_duration", "light_off_duration"))...)},
		})...)

	android = object("AndroidConfig", join(
		[]field{
			{name: "priority", kind: anEnum, enum: "AndroidMessagePriority", values: strings.Fields("NORMAL HIGH")},
			{name: "ttl", kind: aDuration, check: timeToLive},
			{name: "data", kind: aMap, part: partAndroidData},
			{name: "notification", kind: aMessage, of: androidNotification, part: partNotification},
			{name: "fcm_options", kind: aMessage, of: options},
		},
		as(aString, "collapse_key", "restricted_package_name"),
		as(aBool, "direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"))...)

	apns = object("ApnsConfig",
		field{name: "headers", kind: aMap}, field{name: "payload", kind: aStruct}, field{name: "live_activity_token"},
		field{name: "fcm_options", kind: aMessage, of: object("ApnsFcmOptions", field{name: "analytics_label", check: analyticsLabel}, field{name: "image"})})

	webpush = object("WebpushConfig",
		field{name: "headers", kind: aMap}, field{name: "data", kind: aMap}, field{name: "notification", kind: aStruct},
		field{name: "fcm_options", kind: aMessage, of: object("WebpushFcmOptions", field{name: "analytics_label", check: analyticsLabel}, field{name: "link"})})

	fcmMessage = object("Message",
		field{name: "token", text: textToken}, field{name: "fid", text: textFID}, field{name: "topic", text: textTopic}, field{name: "condition", text: textCondition},
		field{name: "name"},
		field{name: "data", kind: aMap, part: partData},
		field{name: "notification", kind: aMessage, part: partNotification, of: object("Notification",
			field{name: "title", text: textTitle}, field{name: "body", text: textBody}, field{name: "image"})},
		field{name: "android", kind: aMessage, of: android},
		field{name: "apns", kind: aMessage, of: apns},
		field{name: "webpush", kind: aMessage, of: webpush},
		field{name: "fcm_options", kind: aMessage, of: options})

	// sendRequest is the body of messages:send. Names that FCM does not have are refused.
	sendRequest = object("SendMessageRequest", field{name: "validate_only", kind: aBool}, field{name: "message", kind: aMessage, of: fcmMessage})

	validateOnly = sendRequest.fields["validate_only"]
)

// dataTexts are the entries of data that are kept beside the report id: what people read
// of a message that the app shows itself.
var dataTexts = map[string]int{"title": textDataTitle, "body": textDataBody}

var (
	labelForm = regexp.MustCompile(`^[a-zA-Z0-9-_.~%]{1,50}$`)
	colorForm = regexp.MustCompile(`^#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?$`)
	topicForm = regexp.MustCompile(`^(/topics/)?[a-zA-Z0-9-_.~%]{1,900}$`)
)

// maxToken bounds a token, in bytes.
const maxToken = 4096

// isToken reports whether a text may be a token or an installation id. The forms of both
// are Google's own, so any printable ASCII without spaces is taken.
func isToken(s []byte) bool {
	for _, c := range s {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxToken
}

func analyticsLabel(v string) string {
	return unless(labelForm.MatchString(v), "Invalid analytics label")
}

func color(v string) string { return unless(colorForm.MatchString(v), "Invalid color: want #rrggbb") }

// maxTTL is the longest life of a message.
const maxTTL = 28 * 24 * time.Hour

func timeToLive(v string) string {
	d, err := time.ParseDuration(v)
	return unless(err == nil && d >= 0 && d <= maxTTL, "TTL must be non-negative and at most 2419200s")
}

func unless(good bool, words string) string {
	if good {
		return ""
	}
	return words
}
