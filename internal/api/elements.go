package api

import (
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tidings/internal/apierr"
	"tidings/internal/gate"
	"tidings/internal/wording"
)

// An elementMember is a member of the MsgContent of an element.
type elementMember struct {
	kind   jsontext.Kind
	need   bool
	values []string // that it may have; none: any
}

var (
	someText   = elementMember{kind: '"'}
	someNumber = elementMember{kind: '0'}
	download   = elementMember{kind: '0', values: []string{"2"}}
)

// elements are the types of elements and their members (spec/timpush-api.md, 6.3).
var elements = map[string]map[string]elementMember{
	"TIMTextElem":     {"Text": {kind: '"', need: true}},
	"TIMLocationElem": {"Desc": someText, "Latitude": {kind: '0', need: true}, "Longitude": {kind: '0', need: true}},
	"TIMFaceElem":     {"Index": {kind: '0', need: true}, "Data": someText},
	"TIMCustomElem":   {"Data": someText, "Desc": someText, "Ext": someText, "Sound": someText},
	"TIMSoundElem":    {"Url": someText, "UUID": someText, "Size": someNumber, "Second": someNumber, "Download_Flag": download},
	"TIMImageElem":    {"UUID": someText, "ImageFormat": {kind: '0', values: []string{"1", "2", "3", "4", "255"}}, "ImageInfoArray": {kind: '['}},
	"TIMFileElem":     {"Url": someText, "UUID": someText, "FileSize": someNumber, "FileName": someText, "Download_Flag": download},
	"TIMVideoFileElem": {
		"VideoUrl": someText, "VideoUUID": someText, "VideoSize": someNumber, "VideoSecond": someNumber, "VideoFormat": someText, "VideoDownloadFlag": download,
		"ThumbUrl": someText, "ThumbUUID": someText, "ThumbSize": someNumber, "ThumbWidth": someNumber, "ThumbHeight": someNumber, "ThumbFormat": someText, "ThumbDownloadFlag": download,
	},
}

// bodyText is what a notification takes from MsgBody.
type bodyText struct {
	desc       string
	ext, sound string // of a custom element
	lone       bool   // the message is one custom element alone
}

// readBody checks MsgBody and returns what a notification takes from it. The texts of several
// elements are joined without anything between them. Contract: spec/timpush-api.md, 6.3.
func readBody(body []msgElement) (t bodyText, err error) {
	var desc strings.Builder
	custom := 0
	for i, e := range body {
		members, known := elements[e.Type]
		if !known {
			return t, apierr.BadElement.Errorf("MsgBody[%d].MsgType %s is no type of an element", i, gate.Quote(e.Type))
		}
		texts, err := readElement(e, members)
		if err != nil {
			return t, apierr.BadMessageFormat.Errorf("MsgBody[%d].MsgContent%s", i, err.Info())
		}
		switch e.Type {
		case "TIMTextElem":
			desc.WriteString(texts["Text"])
		case "TIMLocationElem":
			desc.WriteString("[Location]")
		case "TIMFaceElem":
			desc.WriteString("[Face]")
		case "TIMCustomElem":
			if custom++; custom > 1 {
				return t, apierr.BadMessageFormat.Errorf("MsgBody[%d] is the second TIMCustomElem, a message has at most one", i)
			}
			desc.WriteString(texts["Desc"])
			t.ext, t.sound = texts["Ext"], texts["Sound"]
		}
	}
	t.desc, t.lone = desc.String(), custom == 1 && len(body) == 1
	return t, nil
}

// readElement checks the content of an element and returns its texts. Members that are not
// known are ignored. The error begins with the place in MsgContent.
func readElement(e msgElement, members map[string]elementMember) (map[string]string, *apierr.Error) {
	bad := apierr.BadMessageFormat.Errorf
	var content map[string]jsontext.Value
	if err := json.Unmarshal(e.Content, &content); err != nil {
		return nil, bad(": %v", err)
	}
	texts := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		value, m := content[name], members[name]
		if len(value) == 0 || value.Kind() == 'n' {
			if m.need {
				return nil, bad(".%s is missing", name)
			}
			continue
		}
		if value.Kind() != m.kind {
			return nil, bad(".%s: want %s, got %s", name, wording.JSONKind(m.kind), wording.JSONKind(value.Kind()))
		}
		if m.values != nil && !slices.Contains(m.values, string(value)) {
			return nil, bad(".%s: %s is none of %s", name, wording.Clip(string(value), 40), strings.Join(m.values, ", "))
		}
		if m.kind == '"' {
			var text string
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, bad(".%s is no text", name)
			}
			texts[name] = text
		}
	}
	return texts, nil
}
