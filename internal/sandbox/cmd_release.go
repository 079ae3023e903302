package sandbox

import (
	"context"
	"strings"
)

// lsbRelease implements lsb_release.
func lsbRelease(_ context.Context, p *Process) int {
	o, _, bad := p.options("aidrcsv", "all=a", "id=i", "description=d", "release=r", "codename=c", "short=s", "version=v")
	if bad != 0 {
		return bad
	}
	f := p.Host.o.Facts
	code, _ := f.codename()
	id := map[string]string{"ubuntu": "Ubuntu", "debian": "Debian"}[f.Distro]
	if !o.on("s") {
		fprintf(p.Stderr, "No LSB modules are available.\n")
	}
	var short []string
	for _, field := range []struct{ flag, name, value string }{
		{"i", "Distributor ID", id}, {"d", "Description", f.Name}, {"r", "Release", f.Version}, {"c", "Codename", code},
	} {
		switch {
		case !o.on("a") && !o.on(field.flag):
		case o.on("s"):
			short = append(short, field.value)
		default:
			p.print(field.name, ":\t", field.value, "\n")
		}
	}
	if len(short) > 0 {
		p.print(strings.Join(short, "\n"), "\n")
	}
	return 0
}
