package api

import (
	"tidings/internal/gate"
)

// offlinePush is OfflinePushInfo: what a notification says and how it looks. Members that
// are not here are ignored. Contract: spec/timpush-api.md, 11.1.
type offlinePush struct {
	PushFlag             int64         `range:"0-1"` // 1 sends nothing through vendors: the task is done at once.
	Title                string        // The title on all platforms.
	Desc                 string        // The text. Without it the text is made of MsgBody.
	MultiLanguageContent []translation `items:"0-100"`           // Titles and texts in other languages. A device with none of them gets Title and Desc.
	Ext                  string        `note:"best a JSON text"` // A text for the app, handed over as it is.
	AndroidInfo          *androidInfo  // What is for Android devices.
	ApnsInfo             *apnsInfo     // What is for Apple devices.
	HarmonyInfo          *harmonyInfo  // What is for HarmonyOS devices.
	BadgeAddNum          *int64        `range:"1-99"`                         // A number to add to the badge.
	BadgeSetNum          *int64        `range:"0-999"`                        // The new number of the badge, which wins over BadgeAddNum. Huawei, Honor and HarmonyOS show at most 99.
	TemplateID           string        `json:"PushTemplateId"`                // The id of a template. There are none yet.
	TemplateParam        gate.Raw      `json:"PushTemplateParam" is:"object"` // The values of the variables of the template.
}

// translation is title and text in a language.
type translation struct {
	Language string `need:"yes" note:"BCP 47, such as de or zh-Hant"` // The language.
	Title    string // The title in it.
	Desc     string // The text in it.
}

// androidInfo is AndroidInfo. All its members are kept as they are, those that are not here
// too. Contract: spec/timpush-api.md, 11.2.
type androidInfo struct {
	Sound                        string    // The name of a sound file, without suffix.
	PushStyle                    *int64    `range:"0-1"` // 1 is long text: Huawei, Honor, OPPO.
	HuaWeiChannelID              string    // The channel of Huawei.
	HuaWeiImportance             string    `words:"LOW|NORMAL"` // The importance at Huawei.
	HuaWeiCategory               string    // The category at Huawei.
	HuaWeiImage                  string    `note:"an https URL"` // A picture for Huawei.
	ExtAsHuaweiIntentParam       *int64    `range:"0-1"`         // 1 hands Ext to Huawei as the intent parameter, 0 as the action parameter.
	HonorImage                   string    // A picture for Honor.
	HonorImportance              string    `words:"LOW|NORMAL"` // The importance at Honor.
	XiaoMiChannelID              string    // The channel of Xiaomi.
	OPPOChannelID                string    // The channel of OPPO.
	OPPOCategory                 string    // The category at OPPO.
	OPPONotifyLevel              *int64    `note:"1, 2 or 16"`               // How loud OPPO is: 1 bar; 2 bar and lock screen; 16 those, a banner, vibration and sound. It needs OPPOCategory.
	OPPOPrivateMsgTemplateID     string    `json:"OPPOPrivateMsgTemplateId"` // A template for private messages at OPPO.
	OPPOPrivateTitleParameters   gate.Raw  `is:"object"`                     // Values of that template for the title.
	OPPOPrivateContentParameters gate.Raw  `is:"object"`                     // Values of that template for the text.
	VIVOClassification           *int64    `range:"0-1"`                     // 0 is an operational message at vivo, 1 a system message.
	VIVOCategory                 string    // The category at vivo.
	VIVONotifyType               gate.Raw  `is:"string|number" note:"1 to 4, as text or number"` // How loud vivo is: 1 not at all, 2 sound, 3 vibration, 4 both.
	GoogleChannelID              string    // The channel of FCM.
	GoogleImage                  string    `note:"a URL"`        // A picture for FCM.
	GooglePriority               string    `words:"normal|high"` // The priority at FCM.
	MeiZuNoticeMsgType           *int64    `range:"0-1"`         // 0 is a public message at Meizu, 1 a private one.
	Fields                       gate.Kept `keep:"all"`
}

// apnsInfo is ApnsInfo. Contract: spec/timpush-api.md, 11.3.
type apnsInfo struct {
	BadgeMode         *int64        `range:"0-1"` // 0 counts this push in the badge, 1 does not.
	Title             string        // The title on Apple devices, in place of Title above.
	SubTitle          string        // The subtitle.
	Image             string        `note:"a URL"` // A picture, which the app's notification extension loads.
	MutableContent    int64         `range:"0-1"`  // 1 lets the extension change the notification.
	Sound             string        // The name of a sound file, with suffix.
	InterruptionLevel string        `words:"active|critical|passive|time-sensitive"` // How much it interrupts.
	ContentAvailable  int64         `range:"0-1"`                                    // 1 is a silent push.
	IsVoipPush        int64         `range:"0-1"`                                    // 1 is a VoIP push, where the device has a token for it.
	LiveActivity      *liveActivity // A change of a Live Activity.
	Fields            gate.Kept
}

// liveActivity is LiveActivity. Contract: spec/timpush-api.md, 11.3.
type liveActivity struct {
	ID            string   `json:"LaId" need:"yes" note:"1 to 64 bytes"` // The id of the activity.
	Event         string   `need:"yes" words:"update|end"`               // What becomes of it.
	ContentState  gate.Raw `need:"yes" is:"object"`                      // The state to show.
	DismissalDate *int64   `note:"only with end"`                        // When an ended activity disappears, as Unix time.
}

// harmonyInfo is HarmonyInfo. Contract: spec/timpush-api.md, 11.4.
type harmonyInfo struct {
	Title         string // The title on HarmonyOS devices, in place of Title above.
	Category      string // The category.
	Image         string `note:"an https URL"` // A picture.
	Sound         string // A sound file.
	SoundDuration *int64 `range:"1-60" note:"in seconds"` // How long the sound plays. It needs Sound.
	Fields        gate.Kept
}

// overrides are parts of what providers get, merged after all other fields. Ours.
type overrides struct {
	Apns    *providerOverride // Merged into what APNs gets.
	Fcm     gate.Raw          `is:"object"` // Merged into the message that FCM gets.
	WebPush *providerOverride // Merged into what Web Push gets.
}

// providerOverride is merged into headers and payload.
type providerOverride struct {
	Headers gate.Members `items:"0-20"` // Headers of the request, by name.
	Payload gate.Raw     `is:"object"`  // A part of the payload, merged as RFC 7396 says.
}

// msgElement is an element of MsgBody. Contract: spec/timpush-api.md, 6.3.
type msgElement struct {
	Type    string   `json:"MsgType" need:"yes"`                // Which kind of element it is: TIMTextElem, TIMLocationElem, TIMFaceElem, TIMCustomElem, TIMSoundElem, TIMImageElem, TIMFileElem or TIMVideoFileElem.
	Content gate.Raw `json:"MsgContent" need:"yes" is:"object"` // What it holds, as its type has it.
}
