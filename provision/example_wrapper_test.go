package provision_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bakestone-go/bakestone/bake"
	"github.com/bakestone-go/bakestone/bake/baketest"
	"github.com/bakestone-go/bakestone/provision"
)

func ExampleRetry() {
	m := baketest.NewMachine(nil)
	m.On("apt-get update", baketest.Reply{Status: 100, Times: 1})
	m.On("apt-get update", baketest.Reply{})

	update := provision.Retry{Provisioner: provision.Shell("apt-get update"), Attempts: 5, Delay: time.Millisecond}
	fmt.Println(update.Provision(context.Background(), m))
	fmt.Println(m.Commands())
	// Output:
	// <nil>
	// [apt-get update apt-get update]
}

func ExampleTimeout() {
	m := baketest.NewMachine(nil)
	m.On("slow", baketest.Reply{Do: func(ctx context.Context, _ *bake.Cmd) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}})

	slow := provision.Timeout{Provisioner: provision.Shell("slow"), After: time.Millisecond}
	fmt.Println(slow.Provision(context.Background(), m))
	// Output: timed out after 1ms: context deadline exceeded
}

func ExampleContinueOnError() {
	m := baketest.NewMachine(nil)
	m.On("warm-cache", baketest.Reply{Status: 1})

	optional := provision.ContinueOnError{Provisioner: provision.Shell("warm-cache")}
	fmt.Println(optional.Provision(context.Background(), m))
	// Output: <nil>
}

func ExampleOnlyIf() {
	m := baketest.NewMachine(nil) // Ubuntu, by default
	upgrade := provision.Sequence{
		provision.OnlyIf{
			Facts:       func(f bake.Facts) bool { return f.Distro == "amzn" },
			Provisioner: provision.Shell("dnf upgrade -y"),
		},
		provision.OnlyIf{
			Command:     "command -v apt-get",
			Provisioner: provision.Shell("apt-get upgrade -y"),
		},
	}

	m.On("command -v apt-get", baketest.Reply{})
	m.On("apt-get upgrade -y", baketest.Reply{})
	fmt.Println(upgrade.Provision(context.Background(), m))
	fmt.Println(m.Commands())
	// Output:
	// <nil>
	// [command -v apt-get apt-get upgrade -y]
}

func ExampleNamed() {
	nginx := provision.Named{Name: "install nginx", Provisioner: provision.Shell("apt-get update", "apt-get install -y nginx")}
	fmt.Println(nginx)
	// Output: install nginx
}

func ExampleSequence() {
	m := baketest.NewMachine(nil)
	m.On("make", baketest.Reply{})
	m.On("make install", baketest.Reply{Status: 2})

	build := provision.Sequence{provision.Shell("make"), provision.Shell("make install"), provision.Shell("make clean")}
	fmt.Println(build)
	fmt.Println(build.Provision(context.Background(), m) != nil)
	fmt.Println(m.Commands())
	// Output:
	// shell: make, shell: make install, shell: make clean
	// true
	// [make make install]
}

// Undo removes the registration at the end of the build, even if it fails.
func ExampleUndoable() {
	register := provision.Undoable{
		Provisioner: provision.Shell("register web"),
		UndoFunc: func(context.Context, bake.Outcome) error {
			fmt.Println("unregister web")
			return nil
		},
	}
	img := &bake.Image{
		Name: "web",
		Builder: baketest.NewBuilder(&baketest.BuilderOptions{PrepareMachine: func(m *baketest.Machine) {
			m.On("register web", baketest.Reply{})
		}}),
		Provisioners: []bake.Provisioner{
			register,
			bake.ProvisionFunc{Name: "fail", Do: func(context.Context, bake.Machine) error { return errors.New("disk full") }},
		},
	}
	_, err := bake.Bake(context.Background(), nil, img)
	fmt.Println(err)
	// Output:
	// unregister web
	// image web: provision 2: fail: disk full
}
