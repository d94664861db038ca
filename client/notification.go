package client

import "encoding/json"

// A Notification is what a push shows: OfflinePushInfo. Fields that are empty are left out.
type Notification struct {
	PushFlag     int           `json:",omitempty"` // 1 sends nothing through vendors
	Title        string        `json:",omitempty"`
	Desc         string        `json:",omitempty"` // the text; without it the text is that of Push.Body
	Translations []Translation `json:"MultiLanguageContent,omitempty"`
	Ext          string        `json:",omitempty"` // for the app, best a JSON text
	Android      *AndroidInfo  `json:"AndroidInfo,omitempty"`
	Apns         *ApnsInfo     `json:"ApnsInfo,omitempty"`
	Harmony      *HarmonyInfo  `json:"HarmonyInfo,omitempty"`
	BadgeAdd     int           `json:"BadgeAddNum,omitempty"` // 1 to 99
	BadgeSet     *int          `json:"BadgeSetNum,omitempty"` // 0 to 999; wins over BadgeAdd
}

// A Translation is title and text in a language.
type Translation struct {
	Language string // BCP 47, such as de
	Title    string `json:",omitempty"`
	Desc     string `json:",omitempty"`
}

// AndroidInfo is what a notification has for Android devices. The server's doc/api.md says
// what each field is.
type AndroidInfo struct {
	Sound           string `json:",omitempty"`
	GoogleChannelID string `json:",omitempty"`
	GoogleImage     string `json:",omitempty"`
	GooglePriority  string `json:",omitempty"` // normal or high
	PushStyle       *int   `json:",omitempty"` // 1: long text

	HuaWeiChannelID  string `json:",omitempty"`
	HuaWeiImportance string `json:",omitempty"` // LOW or NORMAL
	HuaWeiCategory   string `json:",omitempty"`
	HuaWeiImage      string `json:",omitempty"`
	HonorImage       string `json:",omitempty"`
	HonorImportance  string `json:",omitempty"` // LOW or NORMAL
	XiaoMiChannelID  string `json:",omitempty"`
	OPPOChannelID    string `json:",omitempty"`
	OPPOCategory     string `json:",omitempty"`
	OPPONotifyLevel  int    `json:",omitempty"` // 1, 2 or 16; needs OPPOCategory

	VIVOClassification *int   `json:",omitempty"` // 0 operational, 1 system
	VIVOCategory       string `json:",omitempty"`
	VIVONotifyType     string `json:",omitempty"` // 1 to 4
	MeiZuNoticeMsgType *int   `json:",omitempty"` // 0 public, 1 private
}

// ApnsInfo is what a notification has for Apple devices.
type ApnsInfo struct {
	BadgeMode         *int          `json:",omitempty"` // 0 counts the push in the badge, 1 does not
	Title             string        `json:",omitempty"` // in place of Notification.Title
	SubTitle          string        `json:",omitempty"`
	Image             string        `json:",omitempty"`
	MutableContent    int           `json:",omitempty"` // 1 lets the app's extension change the notification
	Sound             string        `json:",omitempty"` // with suffix
	InterruptionLevel string        `json:",omitempty"` // active, critical, passive, time-sensitive
	ContentAvailable  int           `json:",omitempty"` // 1 is a silent push
	IsVoipPush        int           `json:",omitempty"` // 1 is a VoIP push
	LiveActivity      *LiveActivity `json:",omitempty"`
}

// A LiveActivity is a change of a Live Activity.
type LiveActivity struct {
	ID            string          `json:"LaId"` // at most 64 bytes
	Event         string          // update or end
	ContentState  json.RawMessage // a JSON object
	DismissalDate int64           `json:",omitempty"` // Unix time, only with end
}

// HarmonyInfo is what a notification has for HarmonyOS devices.
type HarmonyInfo struct {
	Title         string `json:",omitempty"`
	Category      string `json:",omitempty"`
	Image         string `json:",omitempty"`
	Sound         string `json:",omitempty"`
	SoundDuration int    `json:",omitempty"` // 1 to 60 seconds; needs Sound
}

// An Element is a part of a chat message.
type Element struct {
	Type    string `json:"MsgType"` // TIMTextElem, TIMLocationElem, TIMFaceElem, TIMCustomElem, ...
	Content any    `json:"MsgContent"`
}

// TextElement returns an element that is a text.
func TextElement(text string) Element {
	return Element{"TIMTextElem", struct{ Text string }{text}}
}
