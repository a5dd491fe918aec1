{{- define "headgate.name" -}}
{{- if contains "headgate" .Release.Name }}{{ .Release.Name | trunc 53 }}{{ else }}{{ printf "%s-headgate" .Release.Name | trunc 53 }}{{ end -}}
{{- end }}

{{- define "headgate.leaseNamespace" -}}
{{ .Values.leaderElection.namespace | default .Release.Namespace }}
{{- end }}

{{- define "headgate.selector" -}}
app.kubernetes.io/name: headgate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The files that webhooks need: one for each key of a Secret, however many name it. */ -}}
{{- define "headgate.notificationFiles" -}}
{{- $references := dict }}
{{- range .Values.notifications.webhooks }}
{{- with .urlFrom }}{{ $_ := set $references (printf "secrets/%s/%s" .secret .key) . }}{{ end }}
{{- range .headersFrom }}{{ $_ := set $references (printf "secrets/%s/%s" .secret .key) . }}{{ end }}
{{- end }}
{{- range $path, $reference := $references }}
- secret:
    name: {{ $reference.secret }}
    # Without it the controller runs, and says what is missing.
    optional: true
    items:
      - key: {{ $reference.key }}
        path: {{ $path }}
{{- end }}
{{- end }}

{{- define "headgate.labels" -}}
{{ include "headgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: headgate
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
