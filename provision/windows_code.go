package provision

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"

	"github.com/bakestone-go/bakestone/bake"
)

// startCode is the only code in a command line. It reads the rest from standard
// input, in base64, which is independent of the code page.
const startCode = `$ErrorActionPreference='Stop'
$ProgressPreference='SilentlyContinue'
$p=[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String([Console]::In.ReadToEnd().Trim()))|ConvertFrom-Json
[Console]::OutputEncoding=New-Object Text.UTF8Encoding $false
. ([ScriptBlock]::Create($p.code))
`

// directCode runs a script.
const directCode = `if ($p.env) { foreach ($e in $p.env.PSObject.Properties) { [Environment]::SetEnvironmentVariable($e.Name, $e.Value, 'Process') } }
if ($p.dir) { Set-Location -LiteralPath $p.dir }
$global:LASTEXITCODE = 0
if ($p.batch) {
	$file = Join-Path ([IO.Path]::GetTempPath()) ('bakestone-' + [Guid]::NewGuid().ToString('N') + '.cmd')
	try {
		[IO.File]::WriteAllText($file, $p.text)
		& $env:ComSpec /d /c $file
	} finally {
		Remove-Item -LiteralPath $file -Force
	}
} else {
	$arguments = @($p.args | Where-Object { $null -ne $_ })
	& ([ScriptBlock]::Create($p.text)) @arguments
}
exit $global:LASTEXITCODE
`

// taskCode runs a command as a scheduled task, copies its output and exits with its
// status. Only the system, administrators and the task's user can enter the
// directory of its files. 267009, 267011 and 267045 are the results of a task that
// is running, has not yet run, and is queued.
const taskCode = `$name = 'bakestone-' + $p.id
$dir = Join-Path $env:ProgramData $name
$code = 1
New-Item -ItemType Directory -Path $dir | Out-Null
try {
	$grants = @('*S-1-5-18:(OI)(CI)F', '*S-1-5-32-544:(OI)(CI)F')
	if ($p.user) { $grants += ($p.user + ':(OI)(CI)M') }
	& icacls.exe $dir /inheritance:r /grant:r $grants | Out-Null
	if ($LASTEXITCODE -ne 0) { throw "icacls exited with status $LASTEXITCODE" }
	[IO.File]::WriteAllText("$dir\in", $p.input)
	$argument = '/d /c ' + $p.command + ' <"' + $dir + '\in" >"' + $dir + '\out" 2>&1'
	$action = New-ScheduledTaskAction -Execute $env:ComSpec -Argument $argument
	$settings = New-ScheduledTaskSettingsSet -AllowStartIfOnBatteries -DontStopIfGoingOnBatteries -ExecutionTimeLimit ([TimeSpan]::Zero)
	$who = @{ User = 'NT AUTHORITY\SYSTEM' }
	if ($p.user) { $who = @{ User = $p.user; Password = $p.password } }
	Register-ScheduledTask -TaskName $name -Action $action -Settings $settings -RunLevel Highest @who | Out-Null
	Start-ScheduledTask -TaskName $name
	$to = [Console]::OpenStandardOutput()
	$at = 0
	do {
		Start-Sleep -Milliseconds 500
		$code = (Get-ScheduledTaskInfo -TaskName $name).LastTaskResult
		$runs = (@(267009, 267011, 267045) -contains $code) -or ((Get-ScheduledTask -TaskName $name).State -eq 'Running')
		if (Test-Path -LiteralPath "$dir\out") {
			$from = [IO.File]::Open("$dir\out", 'Open', 'Read', 'ReadWrite')
			try {
				[void]$from.Seek($at, 'Begin')
				$from.CopyTo($to)
				$at = $from.Position
			} finally {
				$from.Dispose()
			}
			$to.Flush()
		}
	} while ($runs)
} finally {
	Stop-ScheduledTask -TaskName $name -ErrorAction SilentlyContinue
	Unregister-ScheduledTask -TaskName $name -Confirm:$false -ErrorAction SilentlyContinue
	Remove-Item -LiteralPath $dir -Recurse -Force
}
exit ([BitConverter]::ToInt32([BitConverter]::GetBytes([uint32]$code), 0))
`

// endCode stops and removes a scheduled task.
const endCode = `$name = 'bakestone-' + $p.id
Stop-ScheduledTask -TaskName $name -ErrorAction SilentlyContinue
Unregister-ScheduledTask -TaskName $name -Confirm:$false -ErrorAction SilentlyContinue
$dir = Join-Path $env:ProgramData $name
if (Test-Path -LiteralPath $dir) { Remove-Item -LiteralPath $dir -Recurse -Force }
exit 0
`

const rebootCode = `& shutdown.exe /r /t 0 /f
exit $LASTEXITCODE
`

// uptimeCode prints the machine's uptime in milliseconds.
const uptimeCode = `'up ' + [int64]((Get-Date) - (Get-CimInstance Win32_OperatingSystem).LastBootUpTime).TotalMilliseconds
exit 0
`

// runPowerShell runs code on a Windows machine and returns its output. The title
// names the command in errors.
func runPowerShell(ctx context.Context, m bake.Machine, title string, run windowsRun) (out string, err error) {
	input, err := windowsInput(run)
	if err != nil {
		return "", err
	}
	out, err = bake.Output(ctx, m, &bake.Cmd{Line: powershellLine(), Raw: true, Stdin: strings.NewReader(input)})
	if exit, ok := errors.AsType[*bake.ExitError](err); ok {
		named := *exit
		named.Command = title
		err = &named
	}
	return out, err
}

// windowsInput encodes run for startCode.
func windowsInput(run windowsRun) (string, error) {
	text, err := json.Marshal(run) //nolint:gosec // the machine needs the password
	if err != nil {
		return "", fmt.Errorf("encode the script: %w", err)
	}
	return base64.StdEncoding.EncodeToString(text) + "\n", nil
}

// powershellLine returns a command line for any shell. It is shorter than 8191
// characters, the limit of cmd.exe.
func powershellLine() string {
	units := utf16.Encode([]rune(startCode))
	code := make([]byte, 0, 2*len(units))
	for _, unit := range units {
		code = binary.LittleEndian.AppendUint16(code, unit)
	}
	return "powershell.exe -NoProfile -NonInteractive -InputFormat Text -OutputFormat Text -EncodedCommand " + base64.StdEncoding.EncodeToString(code)
}
