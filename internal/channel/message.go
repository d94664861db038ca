package channel

import "encoding/json"

// A Message is what is to arrive, as the contract describes it (spec/timpush-api.md, 11).
// A field of a provider wins over one of all providers, and a field that is not empty
// over the options of the certificate. Tasks keep messages in JSON.
type Message struct {
	Title        string `json:"title,omitempty"`
	Desc         string `json:"desc,omitempty"`
	Translations []Text `json:"translations,omitempty"` // MultiLanguageContent
	Ext          string `json:"ext,omitempty"`          // for the app
	// Silent is PushFlag 1: nothing is sent through vendors.
	Silent    bool      `json:"silent,omitempty"`
	BadgeAdd  int       `json:"badge_add,omitempty"` // 1 to 99
	BadgeSet  *int      `json:"badge_set,omitempty"` // 0 to 999; wins over BadgeAdd
	Android   Android   `json:"android,omitzero"`
	Apple     Apple     `json:"apple,omitzero"`
	Harmony   Harmonies `json:"harmony,omitzero"`
	Overrides Overrides `json:"overrides,omitzero"`
}

// A Text is title and text in a language.
type Text struct {
	Language string `json:"language"` // BCP 47
	Title    string `json:"title,omitempty"`
	Desc     string `json:"desc,omitempty"`
}

// Android is AndroidInfo (spec/timpush-api.md, 11.2). Fields has all members that the
// request had, those of vendors and unknown ones too, as they were.
type Android struct {
	Sound           string                     `json:"sound,omitempty"`
	GoogleChannelID string                     `json:"google_channel_id,omitempty"`
	GoogleImage     string                     `json:"google_image,omitempty"`
	GooglePriority  string                     `json:"google_priority,omitempty"` // normal, high
	Fields          map[string]json.RawMessage `json:"fields,omitempty"`
}

// Apple is ApnsInfo (spec/timpush-api.md, 11.3).
type Apple struct {
	// Badge is BadgeMode: whether this message counts in the badge.
	BadgeMode         *int                       `json:"badge_mode,omitempty"` // 0: it counts
	Title             string                     `json:"title,omitempty"`
	SubTitle          string                     `json:"subtitle,omitempty"`
	Image             string                     `json:"image,omitempty"`
	MutableContent    bool                       `json:"mutable_content,omitempty"`
	Sound             string                     `json:"sound,omitempty"`
	InterruptionLevel string                     `json:"interruption_level,omitempty"`
	ContentAvailable  bool                       `json:"content_available,omitempty"`
	VoIP              bool                       `json:"voip,omitempty"`
	LiveActivity      *Activity                  `json:"live_activity,omitempty"`
	Fields            map[string]json.RawMessage `json:"fields,omitempty"` // unknown members
}

// An Activity is LiveActivity (spec/timpush-api.md, 11.3).
type Activity struct {
	ID            string          `json:"id"`    // LaId, at most 64 bytes
	Event         string          `json:"event"` // update, end
	ContentState  json.RawMessage `json:"content_state"`
	DismissalDate int64           `json:"dismissal_date,omitempty"`
}

// Harmonies is HarmonyInfo (spec/timpush-api.md, 11.4).
type Harmonies struct {
	Title         string                     `json:"title,omitempty"`
	Category      string                     `json:"category,omitempty"`
	Image         string                     `json:"image,omitempty"`
	Sound         string                     `json:"sound,omitempty"`
	SoundDuration int                        `json:"sound_duration,omitempty"` // seconds
	Fields        map[string]json.RawMessage `json:"fields,omitempty"`
}

// Overrides are parts of what providers get, merged (RFC 7396) after all other fields.
// Token, topic and authorization cannot be overridden. Ours, not the contract's.
type Overrides struct {
	Apns    PayloadOverride `json:"apns,omitzero"`
	Fcm     json.RawMessage `json:"fcm,omitempty"` // merged into FCM's message
	WebPush PayloadOverride `json:"webpush,omitzero"`
}

// A PayloadOverride is merged into headers and payload.
type PayloadOverride struct {
	Headers map[string]string `json:"headers,omitempty"`
	Payload json.RawMessage   `json:"payload,omitempty"`
}
