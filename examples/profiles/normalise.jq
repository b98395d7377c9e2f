# A raw profile of Instagram or TikTok, as collectors bring it, becomes one shape for both. What is not known is null, never a guess: a post without a date has
# none. A row that tells an error is no profile.

def number: if type == "number" then . elif type == "string" then (gsub(","; "") | tonumber? // null) else null end;
def count: if type == "object" then .count else . end | number;
def text: if type == "string" and length > 0 then . else null end;

# Seconds, milliseconds or a text become 2026-01-31T12:00:00Z.
def date:
  if type == "number" then (if . > 100000000000 then . / 1000 else . end | floor | todate)
  elif type == "string" and test("^[0-9]+$") then (tonumber | date)
  elif type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}") then .[:19] + "Z"
  elif type == "string" and test("^[0-9]{4}-[0-9]{2}-[0-9]{2}$") then . + "T00:00:00Z"
  else null end;

def tags: [(.hashtags[]? | if type == "object" then (.name // .hashtag_name) else . end | strings | ltrimstr("#")),
           (.caption | strings | match("#([\\p{L}\\p{N}_]+)"; "g").captures[0].string)] | map(ascii_downcase);
def with_tags($raw): .hashtags = ({caption, hashtags: $raw.hashtags} | tags | unique);
def email: (strings | match("[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}").string) // null;

def instagram_post: . as $raw | {
  post_id: (.id // .post_id // .pk // .shortcode | if . == null then null else tostring end),
  type: ((.content_type // .media_type // .type // .product_type // "photo") | tostring | ascii_downcase
         | if test("reel|clip") then "reel" elif test("video|igtv") then "video" elif test("carousel|sidecar|album") then "carousel" else "photo" end),
  caption: ((.caption | if type == "object" then .text else . end | text) // (.edge_media_to_caption.edges[0].node.text? | text)),
  likes: ((.likes | count) // (.edge_media_preview_like | count) // (.like_count | count)),
  comments: ((.comments | if type == "array" then length else count end) // (.comment_count | count)),
  shares: (.shares | count),
  views: ((.video_view_count | count) // (.view_count | count)),
  created_at: ((.taken_at_timestamp | date) // (.taken_at | date) // (.datetime | date)),
  media_url: ((.video_url | text) // (.display_url | text) // (.image_url | text)),
  url: ((.url | text) // (if .shortcode then "https://www.instagram.com/p/\(.shortcode)/" else null end))
} | with_tags($raw);

def tiktok_post: . as $raw | {
  post_id: (.post_id // .video_id // .id | if . == null then null else tostring end),
  type: "video",
  caption: ((.description | text) // (.caption | text)),
  likes: ((.likes | count) // (.favorites_count | count) // (.diggcount | count)),
  comments: ((.comments | count) // (.comment_count | count) // (.commentcount | count)),
  shares: ((.shares | count) // (.share_count | count)),
  views: ((.playcount | count) // (.views | count) // (.play_count | count)),
  created_at: ((.create_time | date) // (.create_date | date)),
  media_url: ((.video_url | text) // (.cover_image | text)),
  url: ((.post_url | text) // (.video_url | text))
} | with_tags($raw);

def instagram: {
  platform: "instagram",
  account_id: (.account // .username),
  id: (.id // .fbid | if . == null then null else tostring end),
  profile_url: (.profile_url // .url),
  url: (.url // .profile_url),
  display_name: ((.full_name | text) // (.profile_name | text) // (.account | text)),
  biography: (.biography | text),
  profile_image_url: (.profile_image_link // .profile_image_url),
  followers: (.followers | number), following: (.following | number), posts_count: (.posts_count | number),
  avg_engagement_rate: (.avg_engagement | number),
  external_url: (.external_url | if type == "array" then .[0] else . end | text),
  email_address: ((.email_address | text) // (.biography | email)),
  posts: [.posts[]? | instagram_post] | sort_by([.likes // 0, .created_at // ""]) | reverse
};

# Of two lists of videos the second knows more: what it says counts.
def tiktok_posts:
  [(.top_videos[]?, .top_posts_data[]?) | with_entries(select(.value != null))]
  | group_by(.post_id // .video_id // .id | tostring) | map(add | tiktok_post);

def tiktok: {
  platform: "tiktok",
  account_id: .account_id,
  id: (.id | if . == null then null else tostring end),
  profile_url: (.profile_url // .url),
  url: (.url // .profile_url),
  display_name: ((.nickname | text) // (.account_id | text)),
  biography: (.biography | text),
  profile_image_url: (.profile_pic_url // .profile_image_url),
  followers: (.followers | number), following: (.following | number), posts_count: (.videos_count | number),
  avg_engagement_rate: (.awg_engagement_rate // .avg_engagement_rate | number),
  external_url: (.bio_link | text),
  email_address: ((.email_address | text) // (.biography | email)),
  posts: tiktok_posts | sort_by(.created_at // "") | reverse
};

def platform:
  if .account and .fbid then "instagram"
  elif .account_id and .nickname then "tiktok"
  elif ((.url // .profile_url // "") | test("tiktok\\.com")) then "tiktok"
  elif ((.url // .profile_url // "") | test("instagram\\.com")) then "instagram"
  elif .account_id then "tiktok"
  else "instagram" end;

if type != "object" then error("a profile is an object, not \(type)")
elif .error then error("not collected: \(.error)")
elif .platform and .account_id and .profile_url then .
else
  (if platform == "tiktok" then tiktok else instagram end)
  | if .account_id == null and .url == null then error("neither an account nor an address is in it") else . end
  | .posts as $posts | del(.posts)
  | . + {hashtags: ([$posts[].hashtags[]] | unique), posts_data: $posts[:8]}
end
