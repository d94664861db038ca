package api

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/channel"
	"tidings/internal/gate"
)

// maxMessageBytes is the most bytes of JSON that a message takes with everything in it
// (spec/conventions.md, 2.6). The body of a push is smaller.
const maxMessageBytes = 12 << 10

// content is what a request says is to arrive.
type content struct {
	info      *offlinePush
	body      []msgElement
	overrides *overrides
	bad       *apierr.Kind // of what is wrong with OfflinePushInfo
}

// message checks a content and returns the message. If nothing is to be sent, it also returns
// why.
func (c *content) message() (m channel.Message, nothing string, err error) {
	text, err := readBody(c.body)
	if err != nil {
		return m, "", err
	}
	if c.info == nil {
		m.Desc, m.Ext, m.Apple.Sound, m.Android.Sound = text.desc, text.ext, text.sound, text.sound
	} else if m, err = c.info.message(c.bad); err != nil {
		return m, "", err
	}
	if m.Desc == "" {
		m.Desc = text.desc
	}
	if m.Overrides, err = c.overrides.read(); err != nil {
		return m, "", err
	}
	size, err := json.Marshal(m)
	if err != nil {
		return m, "", apierr.Internal.Because(err)
	}
	if len(size) > maxMessageBytes {
		return m, "", c.bad.Errorf("the message takes %d bytes as JSON, it may take %d", len(size), maxMessageBytes)
	}
	switch {
	case m.Silent:
		nothing = "PushFlag is 1: nothing is sent through vendors"
	case text.lone && m.Desc == "":
		nothing = "MsgBody is one TIMCustomElem, and neither it nor OfflinePushInfo has a Desc"
	}
	return m, nothing, nil
}

// message returns the message of an OfflinePushInfo, or an error of kind bad.
func (in *offlinePush) message(bad *apierr.Kind) (m channel.Message, err error) {
	if in.TemplateID != "" {
		return m, bad.Errorf("OfflinePushInfo.PushTemplateId: there is no template %s", gate.Quote(in.TemplateID))
	}
	if in.TemplateParam != nil {
		return m, bad.Errorf("OfflinePushInfo.PushTemplateParam is there without PushTemplateId")
	}
	m = channel.Message{Title: in.Title, Desc: in.Desc, Ext: in.Ext, Silent: in.PushFlag == 1, BadgeSet: number(in.BadgeSetNum)}
	if n := number(in.BadgeAddNum); n != nil {
		m.BadgeAdd = *n
	}
	if m.Translations, err = in.translations(bad); err != nil {
		return m, err
	}
	if in.AndroidInfo != nil {
		if m.Android, err = in.AndroidInfo.read(bad); err != nil {
			return m, err
		}
	}
	if in.ApnsInfo != nil {
		if m.Apple, err = in.ApnsInfo.read(bad); err != nil {
			return m, err
		}
	}
	if h := in.HarmonyInfo; h != nil {
		if h.SoundDuration != nil && h.Sound == "" {
			return m, bad.Errorf("OfflinePushInfo.HarmonyInfo.SoundDuration needs Sound")
		}
		m.Harmony = channel.Harmonies{Title: h.Title, Category: h.Category, Image: h.Image, Sound: h.Sound, Fields: h.Fields}
		if n := number(h.SoundDuration); n != nil {
			m.Harmony.SoundDuration = *n
		}
	}
	return m, nil
}

// maxLanguageBytes bounds a language tag: RFC 5646, 4.4.1.
const maxLanguageBytes = 35

func (in *offlinePush) translations(bad *apierr.Kind) (texts []channel.Text, err error) {
	if len(in.MultiLanguageContent) > 100 {
		return nil, bad.Errorf("OfflinePushInfo.MultiLanguageContent has more than 100 entries")
	}
	for i, t := range in.MultiLanguageContent {
		if t.Language == "" || len(t.Language) > maxLanguageBytes {
			return nil, bad.Errorf("OfflinePushInfo.MultiLanguageContent[%d].Language %s is no language", i, gate.Quote(t.Language))
		}
		if slices.ContainsFunc(texts, func(other channel.Text) bool { return strings.EqualFold(other.Language, t.Language) }) {
			return nil, bad.Errorf("OfflinePushInfo.MultiLanguageContent[%d].Language %s is there twice", i, gate.Quote(t.Language))
		}
		texts = append(texts, channel.Text(t))
	}
	return texts, nil
}

func (in *androidInfo) read(bad *apierr.Kind) (channel.Android, error) {
	const place = "OfflinePushInfo.AndroidInfo."
	if n := in.OPPONotifyLevel; n != nil {
		if *n != 1 && *n != 2 && *n != 16 {
			return channel.Android{}, bad.Errorf(place+"OPPONotifyLevel: %d is none of 1, 2, 16", *n)
		}
		if in.OPPOCategory == "" {
			return channel.Android{}, bad.Errorf(place + "OPPONotifyLevel needs OPPOCategory")
		}
	}
	if v := in.VIVONotifyType; v != nil {
		if text := strings.Trim(string(v), `"`); text != "" && !slices.Contains([]string{"1", "2", "3", "4"}, text) {
			return channel.Android{}, bad.Errorf(place+"VIVONotifyType: %s is none of 1, 2, 3, 4", gate.Quote(text))
		}
	}
	return channel.Android{
		Sound: in.Sound, GoogleChannelID: in.GoogleChannelID, GoogleImage: in.GoogleImage, GooglePriority: in.GooglePriority, Fields: in.Fields,
	}, nil
}

// maxActivityIDBytes bounds LaId (spec/timpush-api.md, 11.3).
const maxActivityIDBytes = 64

func (in *apnsInfo) read(bad *apierr.Kind) (channel.Apple, error) {
	a := channel.Apple{
		BadgeMode: number(in.BadgeMode), Title: in.Title, SubTitle: in.SubTitle, Image: in.Image, MutableContent: in.MutableContent == 1,
		Sound: in.Sound, InterruptionLevel: in.InterruptionLevel, ContentAvailable: in.ContentAvailable == 1, VoIP: in.IsVoipPush == 1, Fields: in.Fields,
	}
	la := in.LiveActivity
	if la == nil {
		return a, nil
	}
	const place = "OfflinePushInfo.ApnsInfo.LiveActivity."
	switch {
	case la.ID == "" || len(la.ID) > maxActivityIDBytes:
		return a, bad.Errorf(place+"LaId has %d bytes, it may have 1 to %d", len(la.ID), maxActivityIDBytes)
	case la.Event == "":
		return a, bad.Errorf(place + "Event is empty, it is update or end")
	case la.DismissalDate != nil && la.Event != "end":
		return a, bad.Errorf(place + "DismissalDate is there and Event is not end")
	case la.DismissalDate != nil && *la.DismissalDate < 0:
		return a, bad.Errorf(place+"DismissalDate: %d is no Unix time", *la.DismissalDate)
	}
	a.LiveActivity = &channel.Activity{ID: la.ID, Event: la.Event, ContentState: compact(la.ContentState)}
	if la.DismissalDate != nil {
		a.LiveActivity.DismissalDate = *la.DismissalDate
	}
	return a, nil
}

// number returns an integer that may be absent.
func number(n *int64) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}

// compact returns JSON without what is between its tokens, so that two spellings of a message are
// one.
func compact(raw gate.Raw) []byte {
	v := jsontext.Value(raw).Clone()
	_ = v.Compact() // it is JSON
	return v
}
