package diskimage

import "encoding/binary"

// MendVHD writes the right checksums into a VHD, for the fuzzer.
func MendVHD(data []byte) {
	const header = 1024
	if len(data) < 2*sector+header {
		return
	}
	mend := func(data []byte, at int) { binary.BigEndian.PutUint32(data[at:], vhdSum(data, at)) }
	if string(data[:len(vhdCookie)]) == vhdCookie {
		mend(data[sector:sector+header], vhdHeaderChecksumAt)
	}
	if foot := data[len(data)-sector:]; string(foot[:len(vhdCookie)]) == vhdCookie {
		mend(foot, vhdChecksumAt)
	}
}
