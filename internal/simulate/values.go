package simulate

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// fits reports whether a value is one of the field's type. As in the JSON of protocol
// buffers, numbers may be strings, and enums numbers; names of enums in small letters
// are taken too, as Google's own examples have them.
func (f *field) fits(token jsontext.Kind, text []byte) bool {
	isText := token == '"'
	switch f.kind {
	case aString:
		return isText
	case aBool:
		return token == 't' || token == 'f'
	case anInt:
		return (isText || token == '0') && isInt(text)
	case aFloat:
		return (isText || token == '0') && isFloat(text)
	case anEnum:
		return f.isOne(isText, text)
	case aDuration:
		return isText && isDuration(text)
	case aTimestamp:
		return isText && isTimestamp(text)
	case aStruct:
		return token == '{'
	}
	return false // a message, a map or a list that is something else
}

func isInt(text []byte) bool {
	_, err := strconv.ParseInt(string(text), 10, 32)
	return err == nil
}

func isFloat(text []byte) bool {
	_, err := strconv.ParseFloat(string(text), 32)
	return err == nil
}

func isTimestamp(text []byte) bool {
	_, err := time.Parse(time.RFC3339Nano, string(text))
	return err == nil
}

// isOne reports whether a text or a number is a value of an enum.
func (f *field) isOne(isText bool, text []byte) bool {
	if !isText {
		n, err := strconv.Atoi(string(text))
		return err == nil && n >= 0 && n < len(f.values)
	}
	for _, v := range f.values {
		if strings.EqualFold(v, string(text)) {
			return true
		}
	}
	return false
}

// isDuration reports whether a text is seconds with at most nine digits after the point
// and an s.
func isDuration(text []byte) bool {
	number, ok := bytes.CutSuffix(bytes.TrimPrefix(text, []byte("-")), []byte("s"))
	whole, fraction, point := bytes.Cut(number, []byte("."))
	return ok && isDigits(whole, 12) && (!point || isDigits(fraction, 9))
}

func isDigits(text []byte, most int) bool {
	if len(text) == 0 || len(text) > most {
		return false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
